import { html } from 'hono/html';
import { type Booking, bookingStatuses } from '../../../shared/booking/booking.ts';
import { accountIdsOf } from '../../../shared/booking/payment-accounts.ts';
import { attentions } from '../../../shared/booking/store.ts';
import { toIso } from '../../../shared/lib/clock.ts';
import { longestDueSeconds, serviceLevel } from '../../operator-reference.ts';
import { known } from '../ops/changes.ts';
import { countDeadLetters } from '../ops/dead-letters.ts';
import { examine, type Finding } from '../ops/doctor.ts';
import type { Found } from '../ops/find.ts';
import { type MetricQuery, total } from '../ops/metrics.ts';
import type { Section } from '../ops/print.ts';
import { type ListKind, listOf, type Records, readAll, readPayment } from '../ops/records.ts';
import { actionsOf, bookingStory, type PossibleAction, paymentStory, userStory } from '../ops/stories.ts';
import type { Target } from '../ops/target.ts';
import { webhookKinds } from '../ops/webhooks.ts';
import { barChart, passed, type Series, timelineChart } from './charts.ts';
import { bookingLink, type Html, sectionHtml, statusText, tableHtml, userLink } from './layout.ts';

/** The contents of the console's pages. */

export type Place = {
  target: Target;
  records: Records;
  now: number;
  /** Proves that a form is of this console. */
  formToken: string;
};
type Page = { title: string; content: Html };

/** A list on the overview shows so many, and counts no further. */
const listed = 20;
const day = 86_400;

export async function overview(place: Place): Promise<Page> {
  const { target, records, now } = place;
  const [due, letters, findings, drawn, ...lists] = await Promise.all([
    records.due(now, listed + 1),
    countDeadLetters(target),
    examine(target, records, now),
    charts(place),
    ...attentions.map((kind) => records.attention(kind, listed + 1)),
  ]);
  const worst = Math.max(0, ...due.map(({ at }) => now - at));
  const warnings = findings.filter(({ is }) => is !== 'pass');
  const count = ({ length }: unknown[]): string => (length > listed ? `more than ${listed}` : String(length));
  const late = worst > longestDueSeconds;
  const facts: [string, Html | string][] = [
    ...attentions.map((kind, index): [string, Html] => [
      kind,
      html`<a href="/list/${kind}">${count(lists[index] ?? [])}</a>`,
    ]),
    [
      'due now',
      html`<a href="/list/due">${count(due)}</a>${due.length > 0 ? html`, the oldest for <span class="${late ? 'failure' : 'pass'}">${passed(worst)}</span>` : ''}`,
    ],
    ['dead letters', letters === 0 ? '0' : html`<span class="failure">${letters}</span>: ops dead-letters`],
  ];
  const content = html`<div class="columns">
    <section><h2>Bookings that need a person</h2><dl>${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl></section>
    <section><h2>Doctor</h2>${warnings.length === 0 ? html`<p class="pass">All ${findings.length} checks pass.</p>` : findingsTable(warnings)}<p><a href="/doctor">All checks</a></p></section>
    </div>
    ${drawn}`;
  return { title: 'Overview', content };
}

type Graph = { name: string; queries: MetricQuery[] };

const ofOutcome = (name: 'verified' | 'ignored' | 'rejected'): Graph => ({
  name,
  queries: webhookKinds.filter(({ as }) => as.outcome === name).map(({ query }) => query),
});
const ofStatus = (name: string, statuses: string[]): Graph => ({
  name,
  queries: statuses.map((status) => ({ name: 'BookingSynced', dimensions: { status }, statistic: 'Sum' })),
});
const good = ['scheduled', 'held', 'cancelled', 'declared'];
const bad = ['failed', 'missed'];
const outcomes: Graph[] = [
  ofStatus('scheduled, held, cancelled', good),
  ofStatus(
    'waiting',
    Object.keys(bookingStatuses).filter((status) => ![...good, ...bad].includes(status)),
  ),
  ofStatus('failed, missed', bad),
];
const paid: Graph = {
  name: 'paid bookings',
  queries: [{ name: 'PaymentToEvent', statistic: 'SampleCount' }],
};
const paidInTime: Graph = {
  name: `within ${serviceLevel.milliseconds / 1000} s`,
  queries: [{ name: 'PaymentToEvent', statistic: `TC(:${serviceLevel.milliseconds})` }],
};
const graphs = [
  ofOutcome('verified'),
  ofOutcome('ignored'),
  ofOutcome('rejected'),
  paid,
  paidInTime,
  ...outcomes,
];

/** What is left of `all` without `some`. */
function rest(name: string, all: Series, some: Series): Series {
  const values = all.values.map((value, part) =>
    value === undefined ? undefined : Math.max(0, value - (some.values[part] ?? 0)),
  );
  return { name, values };
}

/** Webhooks, outcomes and delay over a day and a week. */
async function charts({ target, now }: Place): Promise<Html> {
  const hours = chartsOf(target, now, { title: '24 hours', parts: 24, period: 3600, label: [11, 16] });
  const days = chartsOf(target, now, { title: '7 days', parts: 7, period: day, label: [5, 10] });
  return html`<div class="columns">${await Promise.all([hours, days])}</div>`;
}

/** `parts` of `period` seconds, each named by that part of its start. */
type Span = { title: string; parts: number; period: number; label: [from: number, to: number] };

async function chartsOf(
  { metrics }: Target,
  now: number,
  { title, parts, period, label }: Span,
): Promise<Html> {
  // Whole hours and days, so that CloudWatch answers with as many parts.
  const to = Math.ceil(now / period) * period;
  const from = to - parts * period;
  const labels = Array.from({ length: parts }, (_, part) => toIso(from + part * period).slice(...label));
  const series = await metrics(
    graphs.flatMap(({ queries }) => queries),
    { from, to, period },
  );
  const drawn = graphs.map(({ name, queries }): Series => {
    const own = series.splice(0, queries.length);
    return { name, values: labels.map((_, part) => sumOrNone(own.map((values) => values[part]))) };
  });
  const [verified, ignored, rejected, all, inTime, ...ofBookings] = drawn as [
    Series,
    Series,
    Series,
    Series,
    Series,
  ];
  return html`<section><h2>${title} (UTC)</h2>
    ${barChart('Webhooks', labels, [rest('used', verified, ignored), ignored, rejected])}
    ${barChart('Outcomes of bookings', labels, ofBookings)}
    ${barChart('From payment to event', labels, [inTime, rest('later', all, inTime)])}</section>`;
}

function sumOrNone(values: (number | undefined)[]): number | undefined {
  return values.every((value) => value === undefined) ? undefined : total(values);
}

function findingsTable(findings: Finding[]): Html {
  return tableHtml(
    'Checks',
    ['is', 'check', 'result'],
    findings.map(({ is, check, says }) => [html`<span class="status ${is}">${is}</span>`, check, says]),
    'No checks.',
  );
}

export async function doctor({ target, records, now }: Place): Promise<Page> {
  return {
    title: 'Doctor',
    content: html`<section><h2>Preconditions</h2>${findingsTable(await examine(target, records, now))}</section>`,
  };
}

export async function listPage({ records, now }: Place, kind: ListKind): Promise<Page> {
  const most = 100;
  const found = await readAll(records, await listOf(records, kind, now, most));
  const rows = found.map(({ booking, at }) => [
    toIso(at),
    bookingLink(booking.bookingId),
    booking.userId === undefined ? '?' : userLink(booking.userId),
    statusText(booking.status),
    booking.problems[0]?.message ?? '',
  ]);
  const table = tableHtml(
    'Bookings',
    ['since', 'booking', 'user', 'status', 'problem'],
    rows,
    `No booking is ${kind}.`,
  );
  const more = found.length === most ? html`<p class="quiet">The first ${most}.</p>` : '';
  return { title: `Bookings: ${kind}`, content: html`<section><h2>${kind}</h2>${table}${more}</section>` };
}

export function findPage(text: string, found: Found[]): Page {
  const rows = found.map(({ what, id, says }) => [
    what,
    html`<a href="/${what}/${encodeURIComponent(id)}">${id}</a>`,
    says,
  ]);
  const none =
    'Nothing has this id or address. Of a charge or session, look for its payment intent (pi_…) at Stripe.';
  return {
    title: `Found: ${text}`,
    content: html`<section><h2>Results</h2>${tableHtml('Results', ['what', 'id', 'found'], rows, none)}</section>`,
  };
}

const isOf =
  (...headings: string[]) =>
  ({ heading }: Section) =>
    headings.some((one) => heading.startsWith(one));

export async function bookingPage(place: Place, id: string): Promise<Page> {
  const { records, formToken } = place;
  const booking = await known(records, id);
  const { userId, timeline } = booking;
  const connection = userId === undefined ? undefined : await records.connections.get(userId);
  const story = bookingStory(booking, connection);
  const beside = isOf('Desired', 'What its payment', 'In the calendar');
  const own = isOf('Timeline', 'What you can do');
  const [summary, ...others] = story.filter((section) => !beside(section) && !own(section));
  const content = html`${summary ? sectionHtml({ ...summary, heading: 'State' }) : ''}
    ${userId === undefined ? '' : html`<p>Its user: ${userLink(userId)}</p>`}
    <section><h2>What you can do</h2>${actionList(booking, formToken)}</section>
    <div class="columns">${story.filter(beside).map(sectionHtml)}</div>
    <section><h2>Timeline</h2>${timeline.length > 0 ? timelineChart(timeline) : ''}${timelineTable(timeline)}</section>
    ${others.map(sectionHtml)}`;
  return { title: `Booking ${id}`, content };
}

function actionList(booking: Booking, formToken: string): Html {
  const actions = actionsOf(booking);
  if (actions.length === 0) return html`<p class="quiet">Nothing: it is as it should be.</p>`;
  const button = (
    change: string,
  ): Html => html`<form method="post" action="/booking/${encodeURIComponent(booking.bookingId)}/${change}">
      <input type="hidden" name="token" value="${formToken}"><button>${change}</button></form>`;
  const item = ({ command, does, change }: PossibleAction): Html =>
    html`<li>${change ? button(change) : html`<code>${command}</code>`} ${does}</li>`;
  return html`<ul class="actions">${actions.map(item)}</ul>`;
}

function timelineTable(timeline: Booking['timeline']): Html {
  const rows = timeline.map(({ at, what, code, by }) => [at, what, code ?? '', by ?? '']);
  return tableHtml('Timeline', ['at', 'what', 'code', 'by'], rows, 'Nothing has happened yet.');
}

export async function paymentPage({ records }: Place, id: string): Promise<Page> {
  const { pointer, booking } = await readPayment(records, id);
  return { title: `Payment ${id}`, content: html`${paymentStory(id, pointer, booking).map(sectionHtml)}` };
}

/** @param week its Monday, such as 2026-11-23; the current week where none is given */
export async function userPage(place: Place, userId: string, week: string | undefined): Promise<Page> {
  const { records, now, formToken } = place;
  const connection = await records.connections.get(userId);
  const accountIds = accountIdsOf(await records.accounts.get(userId));
  const monday = mondayOf(week === undefined ? now : Date.parse(`${week}T12:00:00Z`) / 1000);
  // A day more on either side: the days are those of the bookings' own zones.
  const query = { userId, from: monday - day, to: monday + 8 * day, limit: 100 };
  const { bookings } = await records.bookings.list(query);
  const release =
    connection?.status === 'active'
      ? html`<form method="post" action="/user/${encodeURIComponent(userId)}/release"><input type="hidden" name="token" value="${formToken}">
        <button>release</button> tries all bookings that wait for this connection</form>`
      : html`<p class="quiet">The user connects Google again: docs/integrate.md.</p>`;
  const content = html`${userStory(userId, connection, accountIds, []).map(sectionHtml)}
    <section><h2>What you can do</h2>${release}</section>
    <section><h2>Week of ${dateOf(monday)}</h2>${weekView(userId, monday, bookings, now)}</section>`;
  return { title: `User ${userId}`, content };
}

const dateOf = (epoch: number): string => toIso(epoch).slice(0, 10);

function mondayOf(epoch: number): number {
  const midnight = Math.floor(epoch / day) * day;
  // 1970-01-01 was a Thursday.
  return midnight - ((midnight / day + 3) % 7) * day;
}

/** The day and time of a booking as its backend wrote them. */
function writtenStart({ appointment }: Booking): { date: string; time: string } {
  if (!appointment) return { date: '', time: '' };
  const { start } = appointment;
  return 'date' in start
    ? { date: start.date, time: 'all day' }
    : { date: start.dateTime.slice(0, 10), time: start.dateTime.slice(11, 16) };
}

function weekView(userId: string, monday: number, bookings: Booking[], now: number): Html {
  const link = (at: number, text: string): Html =>
    html`<a href="/user/${encodeURIComponent(userId)}?week=${dateOf(at)}">${text}</a>`;
  const entry = (booking: Booking): Html => html`<li><span class="quiet">${writtenStart(booking).time}</span>
      ${bookingLink(booking.bookingId)} ${statusText(booking.status)}</li>`;
  const dayColumn = (offset: number): Html => {
    const date = dateOf(monday + offset * day);
    const own = bookings.filter((booking) => writtenStart(booking).date === date);
    const name = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'][offset];
    return html`<li class="${date === dateOf(now) ? 'today' : ''}"><b>${name}</b> <span class="quiet">${date.slice(5)}</span>
      ${own.length > 0 ? html`<ul>${own.map(entry)}</ul>` : ''}</li>`;
  };
  return html`<p class="weeks">${link(monday - 7 * day, 'Previous week')} ${link(mondayOf(now), 'This week')} ${link(monday + 7 * day, 'Next week')}</p>
    <ol class="week">${[0, 1, 2, 3, 4, 5, 6].map(dayColumn)}</ol>`;
}
