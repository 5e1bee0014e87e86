import { Hono } from 'hono';
import { html } from 'hono/html';
import { Temporal } from 'temporal-polyfill';
import { eventPage, findByEid } from './event-page.ts';
import { deleteEvent, eventPath } from './event-store.ts';
import type { SimulatorEnv } from './faults.ts';
import { avatar, type Html, page } from './page.ts';
import { type Account, calendarsOf, eventsOf, findAccount, type GoogleState, grantKey } from './state.ts';
import { type Day, layOutWeek, type ShownEvent, type Slot, shownHours } from './week-layout.ts';

/** Pages of a simulated account: its week, its events and its connected apps. */
export function calendarPages(state: GoogleState, baseUrl: () => string): Hono<SimulatorEnv> {
  const app = new Hono<SimulatorEnv>();

  app.get('/calendar', (c) => {
    const account = findAccount(state, c.req.query('user')) ?? [...state.accounts.values()][0];
    if (!account) return c.html(notFoundPage('There are no accounts.'), 404);
    const today = Temporal.Instant.fromEpochMilliseconds(state.now())
      .toZonedDateTimeISO(account.timeZone)
      .toPlainDate();
    return c.html(weekPage(state, account, parseDate(c.req.query('date')) ?? today, today));
  });

  app.get('/calendar/event', (c) => {
    const found = findByEid(state, c.req.query('eid'));
    return found ? c.html(eventPage(found, baseUrl())) : c.html(notFoundPage('There is no such event.'), 404);
  });

  app.post('/calendar/event/delete', async (c) => {
    const found = findByEid(state, new URLSearchParams(await c.req.text()).get('eid') ?? '');
    if (!found) return c.html(notFoundPage('There is no such event.'), 404);
    const { account, calendar, event } = found;
    if (event.resource.status !== 'cancelled')
      deleteEvent({ state, account, calendar }, event.resource.id, undefined);
    return c.redirect(eventPath(event), 303);
  });

  app.post('/calendar/remove-access', async (c) => {
    const form = new URLSearchParams(await c.req.text());
    const account = findAccount(state, form.get('user') ?? '');
    if (!account) return c.html(notFoundPage('There is no such account.'), 404);
    state.grants.delete(grantKey(form.get('client') ?? '', account.sub));
    return c.redirect(`/calendar?${new URLSearchParams({ user: account.email })}`, 303);
  });

  return app;
}

function weekPage(
  state: GoogleState,
  account: Account,
  date: Temporal.PlainDate,
  today: Temporal.PlainDate,
): Html {
  const { email, name, timeZone } = account;
  const shown: ShownEvent[] = calendarsOf(state, account.sub).flatMap((calendar) =>
    eventsOf(state, calendar.id)
      .filter(({ purged, resource }) => !purged && resource.status !== 'cancelled')
      .map((event) => ({ event, calendar })),
  );
  const days = layOutWeek(shown, date, timeZone);
  const hours = shownHours(days);
  const [monday = date] = days.map((day) => day.date);
  const to = (target: Temporal.PlainDate) =>
    `/calendar?${new URLSearchParams({ user: email, date: target.toString() })}`;
  const hourLabels = Array.from({ length: hours.to - hours.from }, (_, index) => hours.from + index);
  const others = [...state.accounts.values()].filter(({ sub }) => sub !== account.sub).slice(0, 10);
  const grants = [...state.grants.values()].filter(({ sub }) => sub === account.sub);

  return page(
    `Calendar of ${name}`,
    html`<main>
      <div class="toolbar">
        <h1>${monday.toLocaleString('en-GB', { month: 'long', year: 'numeric' })}</h1>
        <nav aria-label="Weeks">
          <a class="button" href="${to(monday.subtract({ days: 7 }))}"><span aria-hidden="true">‹</span> Previous week</a>
          <a class="button" href="${to(today)}">Today</a>
          <a class="button" href="${to(monday.add({ days: 7 }))}">Next week <span aria-hidden="true">›</span></a>
        </nav>
        <p class="chosen">${avatar(name)}<span>${email}<br><small>${timeZone}</small></span></p>
      </div>
      <div class="week">
        <div class="hours rows-${(hours.to - hours.from) * 4}" aria-hidden="true">
          ${hourLabels.map((hour) => html`<span>${`${hour}`.padStart(2, '0')}:00</span>`)}
        </div>
        ${days.map((day) => dayColumn(day, hours, day.date.equals(today)))}
      </div>
      ${others.length > 0 ? html`<p>Other accounts: ${others.map((it) => html`<a href="/calendar?user=${encodeURIComponent(it.email)}">${it.email}</a> `)}</p>` : ''}
      <section class="apps">
        <h2>Apps with access to this account</h2>
        ${grants.length === 0 ? html`<p>None.</p>` : grants.map(({ clientId }) => removeAccessForm(email, clientId))}
      </section>
    </main>`,
    { wide: true },
  );
}

function dayColumn(day: Day, hours: { from: number; to: number }, isToday: boolean): Html {
  const { date, allDay, slots, lanes } = day;
  const id = `day-${date}`;
  return html`<section class="day${isToday ? ' today' : ''}" aria-labelledby="${id}">
          <h2 id="${id}"><span>${date.toLocaleString('en-GB', { weekday: 'short' })}</span>
            <span class="number">${date.day}</span>${isToday ? html`<span class="visually-hidden">(today)</span>` : ''}</h2>
          <ul class="all-day">${allDay.map((it) => html`<li>${eventLink(it, 'all day')}</li>`)}</ul>
          <ul class="slots rows-${(hours.to - hours.from) * 4} lanes-${Math.min(lanes, 6)}">
            ${slots.map((slot) => slotItem(slot, hours.from))}
          </ul>
        </section>`;
}

function slotItem(slot: Slot, firstHour: number): Html {
  const { fromMinute, toMinute, lane, alone } = slot;
  const row = Math.floor((fromMinute - firstHour * 60) / 15) + 1;
  const rows = Math.max(1, Math.ceil((toMinute - Math.floor(fromMinute / 15) * 15) / 15));
  const place = `from-${row} for-${rows} ${alone ? 'lane-all' : `lane-${(lane % 6) + 1}`}`;
  return html`<li class="${place}${rows < 3 ? ' short' : ''}">${eventLink(slot, `${clock(fromMinute)} – ${clock(toMinute)}`)}</li>`;
}

function eventLink({ event, calendar }: ShownEvent, when: string): Html {
  const { summary, location, status } = event.resource;
  const look = `event${calendar.primary ? '' : ' secondary'}${status === 'tentative' ? ' tentative' : ''}`;
  return html`<a class="${look}" href="${eventPath(event)}"><strong>${summary || '(No title)'}</strong>
                <span>${when}</span>${location ? html`<span>${location}</span>` : ''}</a>`;
}

function removeAccessForm(email: string, clientId: string): Html {
  return html`<form method="post" action="/calendar/remove-access">
          <input type="hidden" name="user" value="${email}"><input type="hidden" name="client" value="${clientId}">
          <code>${clientId}</code> <button>Remove access</button>
        </form>`;
}

function notFoundPage(message: string): Html {
  return page(
    'Not found',
    html`<main class="card"><h1>Not found</h1><p>${message} <a href="/">Start page</a></p></main>`,
  );
}

function clock(minutes: number): string {
  return [Math.floor(minutes / 60) % 24, minutes % 60].map((part) => `${part}`.padStart(2, '0')).join(':');
}

function parseDate(text: string | undefined): Temporal.PlainDate | undefined {
  return text && /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text))
    ? Temporal.PlainDate.from(text)
    : undefined;
}
