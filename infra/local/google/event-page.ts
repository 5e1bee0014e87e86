import { html } from 'hono/html';
import { Temporal } from 'temporal-polyfill';
import { etagOf, presentEvent } from './event-store.ts';
import { instantOf } from './event-times.ts';
import { type Html, page } from './page.ts';
import {
  type Account,
  type Calendar,
  eventKey,
  findAccount,
  type GoogleState,
  type StoredEvent,
} from './state.ts';

type FoundEvent = { account: Account; calendar: Calendar; event: StoredEvent };

/** The event of an `htmlLink`: base64url of its id, a space, and its calendar's id. */
export function findByEid(state: GoogleState, eid: string | undefined): FoundEvent | undefined {
  const [eventId = '', calendarId = ''] = Buffer.from(eid ?? '', 'base64url')
    .toString()
    .split(' ');
  const calendar = state.calendars.get(calendarId);
  const account = findAccount(state, calendar?.owner);
  const event = state.events.get(eventKey(calendarId, eventId));
  return calendar && account && event && !event.purged ? { account, calendar, event } : undefined;
}

export function eventPage({ account, calendar, event }: FoundEvent, baseUrl: string): Html {
  const { resource } = event;
  const resourceShown = presentEvent(calendar, event, baseUrl);
  const eid = new URL(resourceShown.htmlLink ?? '').searchParams.get('eid') ?? '';
  const day = resource.start?.date ?? dateIn(resource.start, calendar.timeZone);
  const week = `/calendar?${new URLSearchParams({ user: account.email, date: day })}`;
  const cancelled = resource.status === 'cancelled';
  const properties = Object.entries(resource.extendedProperties?.private ?? {});
  const row = (name: string, value: Html | string | undefined | null) =>
    value ? html`<div><dt>${name}</dt><dd>${value}</dd></div>` : '';

  return page(
    resource.summary || '(No title)',
    html`<main class="card broad">
      <p><a href="${week}"><span aria-hidden="true">‹</span> Week of this event</a></p>
      <h1${cancelled ? html` class="cancelled"` : ''}>${resource.summary || '(No title)'}</h1>
      ${cancelled ? html`<p class="notice">This event has been deleted. Its id stays taken.</p>` : ''}
      <dl>
        ${row('When', html`${period(resource, calendar.timeZone)} <small>(${calendar.timeZone})</small>`)}
        ${row('Where', resource.location)}
        ${row('Description', resource.description && html`<span class="text">${resource.description}</span>`)}
        ${row('Guests', (resource.attendees ?? []).map(({ email }) => email).join(', '))}
        ${row('Meeting', resource.hangoutLink)}
        ${row('Calendar', calendar.summary)}
        ${row('Status', resource.status)}
        ${properties.map(([name, value]) => row(name, html`<code>${value}</code>`))}
        ${row('Id', html`<code>${resource.id}</code>`)}
        ${row('ETag', html`<code>${etagOf(event)}</code>`)}
      </dl>
      <details><summary>As the Calendar API returns it</summary>
        <pre tabindex="0">${JSON.stringify(resourceShown, null, 2)}</pre></details>
      ${
        cancelled
          ? ''
          : html`<form method="post" action="/calendar/event/delete">
        <input type="hidden" name="eid" value="${eid}">
        <p><button>Delete event, as its owner would</button></p>
      </form>`
      }
    </main>`,
  );
}

function period({ start, end }: StoredEvent['resource'], timeZone: string): string {
  if (start?.date && end?.date) {
    const last = Temporal.PlainDate.from(end.date).subtract({ days: 1 });
    const [from, to] = [Temporal.PlainDate.from(start.date), last].map((date) =>
      date.toLocaleString('en-GB', dateStyle),
    );
    return from === to ? `${from}, all day` : `${from} – ${to}, all day`;
  }
  const [from, to] = [start, end].map((time) => localTime(time, timeZone));
  if (!from || !to) return '';
  const time = { hour: '2-digit', minute: '2-digit' } as const;
  const until = from.toPlainDate().equals(to.toPlainDate()) ? time : { ...dateStyle, ...time };
  const text = (local: Temporal.ZonedDateTime, style: Intl.DateTimeFormatOptions) =>
    local.toPlainDateTime().toLocaleString('en-GB', style);
  return `${text(from, { ...dateStyle, ...time })} – ${text(to, until)}`;
}

const dateStyle = { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' } as const;

function localTime(
  time: StoredEvent['resource']['start'],
  timeZone: string,
): Temporal.ZonedDateTime | undefined {
  if (!time) return undefined;
  return Temporal.Instant.fromEpochMilliseconds(instantOf(time, timeZone)).toZonedDateTimeISO(timeZone);
}

function dateIn(time: StoredEvent['resource']['start'], timeZone: string): string {
  return localTime(time, timeZone)?.toPlainDate().toString() ?? '';
}
