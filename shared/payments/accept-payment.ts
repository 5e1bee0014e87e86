import type { PaymentQueue, PaymentReported } from '../booking/queue.ts';
import { log, metric } from '../lib/observability.ts';
import type { ParsedEvent } from './parse-event.ts';

/**
 * Puts the payment of an event on the queue of bookings: it is durable then. Answers the payment; undefined for an event
 * that is ignored. Both are logged.
 * @param source who delivered the event: the name of a payment provider, or `eventbridge`
 */
export async function acceptPayment(
  queue: Pick<PaymentQueue, 'send'>,
  parsed: ParsedEvent,
  source: string,
): Promise<PaymentReported | undefined> {
  if ('ignored' in parsed) {
    const { reason, event } = parsed;
    log.info('Event ignored', { source, event: event.id, type: event.type, reason });
    metric('WebhookIgnored', 1, { reason });
    return undefined;
  }
  const { payment } = parsed;
  await queue.send(payment);
  const { paymentId, eventId, booking, bookings } = payment;
  log.info('Payment accepted', {
    source,
    paymentId,
    event: eventId,
    ...(booking ? { bookingId: booking.bookingId } : {}),
    ...(bookings ? { bookingIds: bookings.bookingIds.join() } : {}),
    problems: (booking ?? bookings)?.problems.length,
  });
  return payment;
}
