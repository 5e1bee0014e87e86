import { describe, expect, it } from 'vitest';
import { applyPayment } from '../../functions/booking-sync/apply-payment.ts';
import { parseAppointment } from '../../shared/booking/appointment.ts';
import type { Booking } from '../../shared/booking/booking.ts';
import { standingOf } from '../../shared/booking/payment.ts';
import { parseBooking, parseSafely } from '../../shared/payments/booking-from-metadata.ts';
import { parseStripeEvent } from '../../shared/payments/stripe/events.ts';
import { stripeSettings } from '../fixtures/stripe-settings.ts';
import { icuAbbreviations } from '../fixtures/time-zones.ts';
import { logged } from '../support/setup.ts';
import { created, intent, snapshot } from './stripe.ts';

const names = {
  bookingId: 'booking_id',
  bookingIds: 'booking_ids',
  userId: 'user_id',
  timeZone: 'time_zone',
};
const texts = {
  booking_id: 'b1',
  user_id: 'user-1',
  summary: 'First meeting',
  start: '2027-03-05T10:00:00Z',
  end: '2027-03-05T11:00:00Z',
};

const { booking_id: bookingId, user_id: userId, ...rest } = texts;
const kept = { bookingId, userId, ...rest };

describe('the booking that a payment references', () => {
  it.each(icuAbbreviations.flatMap((zone) => [zone, zone.toLowerCase()]))(
    'reports a problem with a time zone that is the abbreviation %s',
    async (zone) => {
      expect(await parseBooking({ ...texts, time_zone: zone }, names, 'pi_1')).toEqual({
        bookingId: 'b1',
        userId: 'user-1',
        paymentTexts: { ...kept, timeZone: zone },
        problems: [expect.objectContaining({ code: 'invalid_booking', field: 'time_zone' })],
      });
    },
  );

  it('keeps texts that cannot be used, cut a character beyond what could be', async () => {
    const long = { ...texts, summary: 's'.repeat(2000), end: 'e'.repeat(2000), other: 'not ours' };
    const booking = await parseBooking(long, names, 'pi_1');
    expect(booking?.paymentTexts).toEqual({ ...kept, summary: 's'.repeat(1025), end: 'e'.repeat(101) });
    const { problems } = await parseAppointment({ ...booking?.paymentTexts, end: texts.end }, 'timeZone');
    expect(problems).toMatchObject([{ field: 'summary' }]);
  });

  it('keeps no texts of a payment that can be used', async () => {
    expect(await parseBooking(texts, names, 'pi_1')).not.toHaveProperty('paymentTexts');
  });

  it('pays a declared booking even with unusable metadata', async () => {
    const metadata = { ...texts, time_zone: 'PST', start: 'Monday' };
    const event = snapshot('payment_intent.succeeded', intent({ metadata }));
    const translation = await parseStripeEvent(event, stripeSettings, async () => ({}));
    const { payment } = translation as Extract<typeof translation, { payment: unknown }>;
    expect(payment.booking?.problems).not.toEqual([]);
    const { appointment } = await parseAppointment(texts);
    const declared = {
      ...{ bookingId: 'b1', userId: 'user-1', status: 'declared', revision: 1 },
      ...{ appointment, payments: {}, problems: [], timeline: [] },
    } as unknown as Booking;
    const paid = applyPayment(declared, payment, undefined, created);
    expect(paid).toMatchObject({ userId: 'user-1', appointment, problems: [] });
    expect(standingOf(paid?.payments.pi_1 ?? {})).toBe('paid');
  });

  it('reports a problem and raises an alarm without its texts when reading a booking throws', async () => {
    logged.length = 0;
    const unforeseen = async () => {
      throw new RangeError('Invalid time zone: Secret Street 1');
    };
    const { appointment, problems } = await parseSafely(unforeseen);
    expect(appointment).toBeUndefined();
    expect(problems).toEqual([expect.objectContaining({ code: 'appointment_unreadable' })]);
    const lines = logged.map((line) => JSON.parse(line));
    expect(lines).toContainEqual(expect.objectContaining({ level: 'ERROR' }));
    expect(lines).toContainEqual(expect.objectContaining({ OperatorError: 1 }));
    expect(logged.join()).toContain('RangeError');
    expect(logged.join()).toContain('unforeseen');
    expect(logged.join()).not.toContain('Secret Street');
  });
});
