/** How a finding about a payment is repaired: the payment is put on the queue again, like any other. */
import { servedKeys } from '../../../functions/payment-recovery/recover.ts';
import type { PaymentFinding } from '../../../shared/booking/findings.ts';
import type { PaymentReported } from '../../../shared/booking/queue.ts';
import { accountOfPayment } from '../../../shared/lib/connected-account.ts';
import { omitUndefined } from '../../../shared/lib/omit-undefined.ts';
import { stripeClient } from '../../../shared/payments/stripe/list-events.ts';
import { translateListedEvent } from '../../../shared/payments/stripe/translate.ts';
import type { Records } from './records.ts';
import { paymentDeps } from './recover.ts';
import type { Target } from './target.ts';

/** Throws where a person must do it. */
export async function repairPayment(
  target: Target,
  records: Records,
  finding: PaymentFinding,
): Promise<void> {
  const deps = paymentDeps(target);
  const message =
    finding.kind === 'payment_not_recorded'
      ? await readAgain(deps, finding)
      : await forItsBooking(records, finding);
  await deps.queue.send(message);
}

async function readAgain(
  deps: ReturnType<typeof paymentDeps>,
  { event: { id, mode, account } }: Extract<PaymentFinding, { kind: 'payment_not_recorded' }>,
): Promise<PaymentReported> {
  const keys = servedKeys(await deps.stripeKeys.get(), deps.stripeMode);
  const [, key] = keys.find(([of]) => of === mode) ?? [];
  if (!key) throw new Error(`No API key of ${mode} mode is stored: docs/setup.md, Recovery.`);
  const event = await stripeClient(key, deps.stripeApi.baseUrl, account).events.retrieve(id);
  const parsed = await translateListedEvent(deps, event, account);
  if ('ignored' in parsed) throw new Error(`The event is ignored by now: ${parsed.ignored}.`);
  return { ...parsed.payment, recovered: true };
}

/** What is known of the payment, for the booking that it names: by now that may be declared. */
async function forItsBooking(
  { bookings, pointer }: Records,
  { paymentId, bookingId, userId }: PaymentFinding,
): Promise<PaymentReported> {
  const known = await pointer(paymentId);
  const named = bookingId === undefined ? undefined : await bookings.get(bookingId);
  if (!known?.facts || bookingId === undefined || !named) throw new Error(undeclared(bookingId));
  return omitUndefined({
    type: 'payment' as const,
    paymentId,
    eventId: `repair of ${paymentId}`,
    facts: known.facts,
    account: accountOfPayment(paymentId),
    booking: omitUndefined({ bookingId, userId, mustExist: true as const, problems: [] }),
  });
}

export function undeclared(bookingId: string | undefined): string {
  return `Its booking ${bookingId ?? '?'} was not declared. LeadsCalendar declares it (PUT /bookings/${bookingId ?? '{id}'}) and you repair it then, or the payment is refunded.`;
}
