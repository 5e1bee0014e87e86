/** Result of a chaos run: a table for people, and all problems. */
import { recordedEvent } from '../../shared/booking/booking.ts';
import type { ChaosResult } from './chaos.ts';
import { expectedTime, type PlannedBooking } from './plan.ts';
import type { Answers } from './traffic.ts';

/** All problems; empty if there are none. */
export function findings(result: ChaosResult): string[] {
  const { planned, traffic, rows, events, doubles, connections, queue, told, settledAfter } = result;
  const { stripe, backend } = traffic;
  const queued = queue.ready + queue.receipts.length;
  const rowOf = new Map(rows.map((row) => [row.bookingId, row]));
  const standing = events.filter(({ status }) => status !== 'cancelled');
  const eventsOf = Map.groupBy(standing, (event) => event.extendedProperties?.private?.leadscalendarBooking);
  const toldOf = Map.groupBy(told, ({ bookingId }) => bookingId);
  const wrong = planned.flatMap((booking) => {
    const { booking_id: id } = booking.metadata;
    const here = eventsOf.get(id) ?? [];
    eventsOf.delete(id);
    const lastTold = toldOf.get(id)?.at(-1)?.type ?? 'nothing';
    return wrongWith(booking, here, rowOf.get(id), lastTold).map(
      (what) => `${id} (${booking.fate}): ${what}`,
    );
  });
  const say = (isWrong: boolean, what: string) => (isWrong ? [what] : []);
  return [
    ...say(
      settledAfter === undefined,
      `It had not settled when the time of ${result.options.minutes} minutes was up.`,
    ),
    ...say(
      stripe.accepted < stripe.planned,
      `${stripe.planned - stripe.accepted} deliveries were never accepted.`,
    ),
    ...say(
      backend.accepted < backend.planned,
      `${backend.planned - backend.accepted} changes were never accepted.`,
    ),
    ...say(queued > 0, `The queue still holds ${queued} messages.`),
    ...say(queue.deadLetters > 0, `The dead-letter queue holds ${queue.deadLetters} messages.`),
    ...[...doubles].map(([id, count]) => `${id}: ${count} events stood at the same moment`),
    ...[...eventsOf].map(
      ([id, here]) => `${here.length} events of ${id ?? 'no booking'}, which no payment paid for`,
    ),
    ...connections
      .filter(({ status }) => status !== 'active')
      .map(({ userId, status }) => `The connection of ${userId} is ${status}`),
    ...wrong,
  ];
}

function wrongWith(
  booking: PlannedBooking,
  events: ChaosResult['events'],
  row: ChaosResult['rows'][number] | undefined,
  lastTold: string,
): string[] {
  const expected = expectedTime(booking);
  const wrong: string[] = [];
  const must = (holds: boolean, what: string) => {
    if (!holds) wrong.push(what);
  };
  const wantedEvents = expected ? 1 : 0;
  must(events.length === wantedEvents, `${events.length} events instead of ${wantedEvents}`);
  const wantedStatus = expected ? 'scheduled' : 'cancelled';
  must(
    row?.status === wantedStatus,
    `its status is ${row?.status ?? 'that of no booking'}, not ${wantedStatus}`,
  );
  const problems = (row?.problems ?? []).filter((problem) => expected || !isWarning(problem));
  must(problems.length === 0, `it has problems: ${problems.map(({ code }) => code)}`);
  for (const { id, start, end } of events) {
    if (!expected) continue;
    const isThere = isSameTime(start?.dateTime, expected.start) && isSameTime(end?.dateTime, expected.end);
    must(isThere, `it stands at ${start?.dateTime}, not at ${expected.start}`);
    const recorded = row && recordedEvent(row)?.eventId;
    must(recorded === id, `${recorded} is on record, ${id} stands`);
  }
  const news = expected ? ['booking.scheduled', 'booking.rescheduled'] : ['booking.cancelled'];
  must(news.includes(lastTold), `LeadsCalendar was last told ${lastTold}`);
  return wrong;
}

/** After a kill between deletion and record, another message cannot tell the deletion from a move by the owner. */
function isWarning({ code }: { code: string }): boolean {
  return code === 'older_event_may_remain';
}

function isSameTime(one: string | null | undefined, other: string): boolean {
  return Date.parse(one ?? '') === Date.parse(other);
}

/** The table. */
export function report(result: ChaosResult): string {
  const { options, planned, traffic, early, violence, googleCalls, events, doubles, queue, told } = result;
  const { stripe, backend, users } = traffic;
  const standing = events.filter(({ status }) => status !== 'cancelled');
  const eventsOf = Map.groupBy(
    standing,
    (event) => event.extendedProperties?.private?.leadscalendarBooking ?? '',
  );
  const perBooking = (wanted: boolean) =>
    counts(
      planned
        .filter((booking) => Boolean(expectedTime(booking)) === wanted)
        .map(({ metadata }) => `${eventsOf.get(metadata.booking_id)?.length ?? 0} events`),
    );
  const toldTwice = told.length - new Set(told.map(({ id }) => id)).size;
  const seconds = (time: number | undefined) => (time === undefined ? 'never' : `${time.toFixed(1)} s`);
  const lines: [string, string | number][] = [
    ['payments', `${planned.length} (${counts(planned.map(({ fate }) => fate))}), seed ${options.seed}`],
    [
      'deliveries by Stripe',
      `${stripe.planned}, ${stripe.twice} of them duplicates, ${stripe.lost} lost for good`,
    ],
    ['payments that recovery was first to record', recoveredOf(result)],
    [
      'bookings that warn of an older event',
      result.rows.filter(({ problems = [] }) => problems.some(isWarning)).length,
    ],
    ['  answers', written(stripe.answers)],
    ['moves and cancellations', backend.planned],
    ['  answers', written(backend.answers)],
    ['connecting users, answers', `early ${written(early.answers)}; late ${written(users.answers)}`],
    ['kills of the service', `${violence.kills}, started again each time`],
    ['kills of Google', `${violence.googleKills}, started again each time`],
    ['messages cut off by kills', `${violence.cutOff.size} times, redelivered`],
    ['most receives of a message', `${result.mostReceives} of 5 before it is dead`],
    ['dead letters moved back by the operator', result.movedBack],
    ['calls to Google', `${googleCalls.length} (${counts(googleCalls.map(({ route }) => route))})`],
    [
      '  injected errors',
      counts(
        googleCalls.filter(isInjected).map(({ route, status }) => `${status} on ${route.split('.')[0]}`),
      ),
    ],
    ['  answers lost', googleCalls.filter(({ status }) => status === 0).length],
    ['all accepted after', seconds(result.acceptedAfter)],
    ['settled after', seconds(result.settledAfter)],
    ['events, where paid for', perBooking(true)],
    ['events, where refunded or cancelled', perBooking(false)],
    ['bookings with two events at any moment', doubles.size],
    ['bookings by status', counts(result.rows.map(({ status }) => status))],
    ['connections by status', counts(result.connections.map(({ status }) => status))],
    ['published', `${told.length}, ${toldTwice} of them again with the same id`],
    ['queue at the end', `${queue.ready + queue.receipts.length}, dead letters ${queue.deadLetters}`],
    [
      'other than in production',
      `messages come back after ${options.visibility} s, not 180; 4 runs of booking-sync side by side, not 20; booking-reconcile runs each 5 s, not 60, and ` +
        'token-refresh each 15 s, not 300; access tokens live 75 s; Stripe repeats within 2 s, not hours',
    ],
  ];
  const width = Math.max(...lines.map(([name]) => name.length));
  return lines.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

function recoveredOf({ rows }: ChaosResult): number {
  const payments = rows.flatMap((row) => Object.values(row.payments));
  return payments.filter(({ recovered }) => recovered).length;
}

/** Statuses that the simulated Google never answers by itself. */
function isInjected({ status, route }: ChaosResult['googleCalls'][number]): boolean {
  return status >= 500 || status === 429 || (status === 403 && route.startsWith('events.'));
}

/** `2 of this, 1 of that`, the most frequent first. */
function counts(kinds: string[]): string {
  return written(new Map([...Map.groupBy(kinds, (kind) => kind)].map(([kind, all]) => [kind, all.length])));
}

function written(counted: Answers): string {
  const sorted = [...counted].sort(([, a], [, b]) => b - a);
  return sorted.map(([kind, count]) => `${kind}: ${count}`).join(', ') || 'none';
}
