import { afterAll, beforeAll, expect, it } from 'vitest';
import { recordsOf } from '../../infra/cli/ops/records.ts';
import { openTarget } from '../../infra/cli/ops/target.ts';
import { checkoutCompleted, demoBooking } from '../../infra/cli/payment.ts';
import type { StripeEvent } from '../../infra/local/stripe/event-log.ts';
import { findingStore, type StoredFinding } from '../../shared/booking/findings.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { apiTokenFor } from '../e2e/browser.ts';
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

it('an operator repairs a payment that is not recorded, and one whose booking is declared late', async () => {
  const records = recordsOf(await openTarget({ local: true, state: stack.state }));
  const target = await openTarget({ local: true, state: stack.state });
  const findings = findingStore(target.dynamo, target.output('BookingsTableName'), target.indexShards);
  const now = Date.now();
  const lost = checkoutCompleted(demoBooking('user-1', 'lost', now), now - 3 * 3_600_000, 'lost');
  stack.stack.stripe.control.register(lost as StripeEvent);
  const at = Math.floor(now / 1000);
  const event = { id: lost.id, mode: 'test' as const };
  await findings.record({ kind: 'payment_not_recorded', paymentId: 'pi_lost', bookingId: 'lost', event }, at);
  const late = { paymentId: 'pi_late', bookingId: 'late', userId: 'user-1' };
  await findings.record({ kind: 'paid_without_booking', ...late }, at);
  const facts = { confirmedAt: toIso(at - 90_000), amount: 9000 };
  const named = { bookingId: 'late', userId: 'user-1' };
  await records.bookings.savePointer({ paymentId: 'pi_late', facts, named, version: 0 });

  const open = await stack.json<(StoredFinding & { advice: string })[]>('findings');
  const idOf = (kind: string) => open.find((one) => one.kind === kind)?.findingId ?? '';
  expect(await stack.ops('repair', idOf('payment_not_recorded'))).toMatchObject({ code: 0 });
  await stack.becomes('lost', 'scheduled');
  const early = await stack.ops('repair', idOf('paid_without_booking'));
  expect(early).toMatchObject({ code: 1, text: expect.stringContaining('PUT /bookings/late') });
  const { summary, start, end } = demoBooking('user-1', 'late', now);
  const declared = await fetch(`${stack.stack.url}/bookings/late`, {
    method: 'PUT',
    headers: {
      authorization: `Bearer ${await apiTokenFor(stack.stack, 'user-1')}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ summary, start, end }),
  });
  expect(declared.status).toBe(201);
  expect(await stack.ops('repair', idOf('paid_without_booking'))).toMatchObject({ code: 0 });
  await stack.becomes('late', 'scheduled');
  await stack.ops('audit');
  // What has just changed in the calendar is looked at later.
  const left = await stack.json<StoredFinding[]>('findings');
  expect(left.filter(({ kind }) => kind.includes('payment') || kind.includes('without_booking'))).toEqual([]);
}, 90_000);

it('refuses a finding that does not exist and a date that is none', async () => {
  expect((await stack.ops('repair', 'nothing')).text).toContain('There is no finding "nothing"');
  expect((await stack.ops('audit', '--from', 'soon')).text).toContain('--from soon is no date');
});
