import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, onTestFinished, test } from 'vitest';
import { openJournal } from '../../infra/local/journal.ts';
import { followCalendars } from './calendar-history.ts';
import { type ChaosOptions, type ChaosResult, runChaos } from './chaos.ts';
import { findings, report } from './report.ts';

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'leadscalendar-chaos-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

test('under kills, losses and redelivery every paid booking ends with exactly one event', {
  timeout: 480_000,
}, async () => {
  const options: ChaosOptions = {
    payments: 40,
    seed: 3,
    errors: 10,
    lost: 5,
    lostWebhooks: 10,
    killEvery: 1.5,
    maxKills: 4,
    // Not a limit: a paused calendar returns within two minutes, and a busy machine can need as long again.
    minutes: 7,
    // The shortest time for a batch and for waiting out the lease of a killed run.
    visibility: 12,
    assembly: inject('assembly'),
    directory: temporaryDirectory(),
  };
  const progress: string[] = [];
  const result = await runChaos(options, (line) => progress.push(line));
  expect(findings(result), `${progress.join('\n')}\n${report(result)}`).toEqual([]);
  expect(result.violence.kills).toBeGreaterThanOrEqual(3);
  expect(result.traffic.stripe.twice).toBeGreaterThan(0);
  expect(result.traffic.stripe.lost).toBeGreaterThan(0);
  expect(result.googleCalls.some(({ status }) => status >= 500)).toBe(true);
  expect(report(result)).toMatch(/^payments +40 /);
  judgesEachFault(result);
});

/** A report without findings for a correct run must find each planted fault. */
function judgesEachFault(right: ChaosResult): void {
  const wrong = (change: Partial<ChaosResult>) => findings({ ...right, ...change }).join('\n');
  const [event] = right.events.filter(({ status }) => status !== 'cancelled');
  if (!event) throw new Error('There is no event at all.');
  const others = right.events.filter((each) => each !== event);
  const id = event.extendedProperties?.private?.leadscalendarBooking as string;
  expect(wrong({ events: others })).toContain(`${id} (`);
  expect(wrong({ events: [...right.events, { ...event, id: 'another' }] })).toContain(
    '2 events instead of 1',
  );
  const moved = { ...event, start: { dateTime: '2020-01-01T10:00:00Z' } };
  expect(wrong({ events: [...others, moved] })).toContain('it stands at 2020-01-01T10:00:00Z');
  const stranger = { ...event, extendedProperties: {} };
  expect(wrong({ events: [...right.events, stranger] })).toContain('which no payment paid for');
  expect(wrong({ rows: [] })).toContain('its status is that of no booking');
  const pending = right.rows.map((row) => ({ ...row, status: 'pending' as const }));
  expect(wrong({ rows: pending })).toContain('its status is pending');
  const unrecorded = right.rows.map((row) => ({ ...row, calendar: { kind: 'absent' as const } }));
  expect(wrong({ rows: unrecorded })).toContain('undefined is on record');
  expect(wrong({ doubles: new Map([[id, 2]]) })).toContain('2 events stood at the same moment');
  expect(wrong({ told: [] })).toContain('LeadsCalendar was last told nothing');
  expect(wrong({ settledAfter: undefined })).toContain('had not settled');
  expect(wrong({ queue: { ...right.queue, ready: 1, deadLetters: 2 } })).toMatch(
    /still holds 1 .*\n.*holds 2 /,
  );
  expect(wrong({ connections: [{ userId: 'user-0', status: 'disconnected' }] })).toContain('is disconnected');
  const { stripe } = right.traffic;
  const unheard = { ...stripe, accepted: stripe.planned - 1 };
  expect(wrong({ traffic: { ...right.traffic, stripe: unheard } })).toContain('1 deliveries were never');
}

test('the journal shows two simultaneous events of a booking, before and after a restart', () => {
  const directory = temporaryDirectory();
  mkdirSync(directory, { recursive: true });
  const path = join(directory, 'google.json');
  let revision = 0;
  const event = (bookingId: string, id: string, status: string) => ({
    calendarId: 'calendar',
    revision: ++revision,
    resource: { id, status, extendedProperties: { private: { leadscalendarBooking: bookingId } } },
  });
  let journal = openJournal(path);
  const put = (bookingId: string, id: string, status = 'confirmed') =>
    journal.collection('events').set(id, event(bookingId, id, status));
  put('once', 'a');
  put('once', 'a', 'cancelled');
  const history = followCalendars(path);
  onTestFinished(() => history.close());
  history.look();
  put('once', 'b');
  put('twice', 'c');
  history.look();
  expect([history.standing(), [...history.doubles()]]).toEqual([2, []]);
  put('twice', 'd');
  put('twice', 'c', 'cancelled');
  journal.close();
  // A restart compacts the file to current values: an earlier duplicate must not be lost with it.
  journal = openJournal(path);
  onTestFinished(() => journal.close());
  put('again', 'e');
  history.look();
  expect([history.standing(), [...history.doubles()]]).toEqual([3, [['twice', 2]]]);
  put('again', 'f');
  history.look();
  expect([...history.doubles()]).toEqual([
    ['twice', 2],
    ['again', 2],
  ]);
});
