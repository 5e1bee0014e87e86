import { afterAll, beforeAll, expect, it } from 'vitest';
import { recordsOf } from '../../infra/cli/ops/records.ts';
import { openTarget } from '../../infra/cli/ops/target.ts';
import type { StoredFinding } from '../../shared/booking/findings.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { type OpsStack, startOpsStack } from './ops-stack.ts';
import { ada } from './world.ts';

let stack: OpsStack;

beforeAll(async () => {
  stack = await startOpsStack();
  await stack.connect('user-1');
}, 120_000);
afterAll(() => stack?.stack.close());

it('an operator finds a booking whose event is gone, and has sync repair it', async () => {
  await stack.pay('user-1', '1042');
  await stack.becomes('1042', 'scheduled');
  expect((await stack.ops('audit')).text).toContain('0 findings, 0 open');

  const booking = await stack.booking('1042');
  if (booking.calendar.kind !== 'present') throw new Error('It is not scheduled.');
  const { eventId } = booking.calendar.event;
  const query = new URLSearchParams({ email: ada, eventId, calendarId: 'primary' });
  const gone = await fetch(`${stack.stack.googleUrl}/_simulator/events?${query}`, { method: 'DELETE' });
  expect(gone.status).toBe(200);
  // What has just changed is left for the next run.
  const records = recordsOf(await openTarget({ local: true, state: stack.state }));
  const updatedAt = toIso(Math.floor(Date.now() / 1000) - 600);
  expect(await records.bookings.save({ ...booking, updatedAt })).toBe(true);

  const audited = await stack.ops('audit');
  expect(audited).toMatchObject({ code: 1, text: expect.stringContaining('1 findings, 1 open') });
  const [finding] = await stack.json<StoredFinding[]>('findings');
  expect(finding).toMatchObject({ kind: 'paid_without_event', bookingId: '1042', userId: 'user-1' });

  const repaired = await stack.ops('repair', finding?.findingId ?? '');
  expect(repaired).toMatchObject({ code: 0, text: expect.stringContaining('Handed over') });
  // Its owner has deleted it, most likely: that is said, and an operator creates it again.
  await stack.becomes('1042', 'deleted_by_user');
  expect((await stack.ops('restore', '1042')).code).toBe(0);
  await stack.becomes('1042', 'scheduled');
}, 90_000);

it('refuses a finding that does not exist and a date that is none', async () => {
  expect((await stack.ops('repair', 'nothing')).text).toContain('There is no finding "nothing"');
  expect((await stack.ops('audit', '--from', 'soon')).text).toContain('--from soon is no date');
});
