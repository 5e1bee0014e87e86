import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseBookingMessage } from '../../functions/booking-sync/read-message.ts';
import { parseStandardEvent } from '../../functions/payment-confirmed/standard/events.ts';
import { AppError } from '../../shared/lib/app-error.ts';
import { queuedText } from '../fakes/queue.ts';

const at = '2026-11-23T08:00:00Z';
const data = {
  paymentId: 'order-77',
  bookingId: 'booking-1',
  userId: 'user-1',
  amount: 9000,
  booking: {
    summary: 'First meeting',
    start: '2026-12-01T10:00:00',
    end: '2026-12-01T11:00:00',
    timeZone: 'Europe/Berlin',
  },
};

const translate = (type: string, data: unknown, change: object = {}) =>
  parseStandardEvent(Buffer.from(JSON.stringify({ type, timestamp: at, data, ...change })), 'msg_1');
const paymentOf = async (type: string, data: unknown, change: object = {}) => {
  const translation = await translate(type, data, change);
  if ('ignored' in translation) throw new Error(`ignored: ${translation.ignored}`);
  expect(parseBookingMessage(queuedText(translation.payment))).toMatchObject(translation.payment);
  return translation.payment;
};
const refused = (...fields: string[]) =>
  expect.objectContaining({
    code: 'unsupported_event_format',
    status: 400,
    problems: fields.map((field) => expect.objectContaining({ field })),
  });

const booking = {
  bookingId: 'booking-1',
  userId: 'user-1',
  appointment: {
    summary: 'First meeting',
    start: { dateTime: '2026-12-01T10:00:00', timeZone: 'Europe/Berlin' },
    end: { dateTime: '2026-12-01T11:00:00', timeZone: 'Europe/Berlin' },
    startsAt: Date.UTC(2026, 11, 1, 9) / 1000,
    endsAt: Date.UTC(2026, 11, 1, 10) / 1000,
  },
  problems: [],
};
const report = { type: 'payment', paymentId: 'standard:order-77', eventId: 'msg_1' };
const { booking: _, bookingId, ...ofPayment } = data;

describe('parseStandardEvent', () => {
  it.each([
    ['payment.confirmed', data, { facts: { confirmedAt: at, amount: 9000 }, booking }],
    ['payment.failed', data, { facts: { failedAt: at }, booking }],
    [
      'payment.refunded',
      { ...ofPayment, refundedAmount: 4000 },
      { facts: { amount: 9000, refundedTotal: 4000 } },
    ],
    [
      'payment.refunded',
      { paymentId: 'order-77', refundedAmount: 4000, refundId: 'refund-1' },
      { facts: { refunds: { 'refund-1': { amount: 4000, state: 'done' } } } },
    ],
  ])('translates a Standard Webhook: %s', async (type, data, expected) => {
    expect(await paymentOf(type, data)).toEqual({ ...report, ...expected });
  });

  it('converts the time to UTC, in whole seconds, so that times can be compared', async () => {
    const { facts } = await paymentOf('payment.confirmed', data, {
      timestamp: '2026-11-23T09:00:00.75+01:00',
    });
    expect(facts.confirmedAt).toBe(at);
  });

  it('a refund carries no booking: its payment points to it', async () => {
    const payment = await paymentOf('payment.refunded', { ...data, refundedAmount: 9000 });
    expect(payment).not.toHaveProperty('booking');
  });

  it('a booking without an id gets the id of its payment', async () => {
    const { bookingId: _, ...anonymous } = data;
    expect((await paymentOf('payment.confirmed', anonymous)).booking).toEqual({
      ...booking,
      bookingId: 'standard:order-77',
    });
  });

  it('treats an empty optional text of a Standard Webhook as absent', async () => {
    const times = { start: '2026-12-01T10:00:00+01:00', end: '2026-12-01T11:00:00+01:00', timeZone: '' };
    const texts = { summary: 'First meeting', location: '', description: '', ...times };
    const payment = await paymentOf('payment.confirmed', { ...data, booking: texts });
    expect(payment.booking).toMatchObject({
      bookingId,
      appointment: { summary: 'First meeting', start: { dateTime: '2026-12-01T10:00:00+01:00' } },
      problems: [],
    });
    expect(payment.booking?.appointment).not.toHaveProperty('location');
  });

  it('references a declared booking by its id alone', async () => {
    const declared = { paymentId: 'order-77', bookingId };
    expect((await paymentOf('payment.confirmed', declared)).booking?.bookingId).toBe('booking-1');
  });

  it('ignores a payment that references no booking', async () => {
    for (const type of ['payment.confirmed', 'payment.failed'])
      expect(await translate(type, ofPayment)).toEqual({
        ignored: 'no booking in its data',
        reason: 'no_booking',
        event: { id: 'msg_1', type },
      });
  });

  it('reports problems with the field names of the request body', async () => {
    const { booking } = await paymentOf('payment.confirmed', {
      ...data,
      bookingId: 'a b',
      userId: '',
      booking: { ...data.booking, timeZone: 'Mars/Olympus' },
    });
    expect(booking?.bookingId).toBe('standard:order-77');
    expect(booking?.problems.map(({ field }) => field)).toEqual(['bookingId', 'userId', 'timeZone']);
    const noZone = await paymentOf('payment.confirmed', {
      ...data,
      booking: { ...data.booking, timeZone: undefined },
    });
    expect(noZone.booking?.problems[0]?.message).toContain('"timeZone"');
  });

  it.each(['payment.disputed', 'invoice.paid', '__proto__'])('reports an ignored %s', async (type) => {
    expect(await translate(type, { anything: true })).toEqual({
      ignored: `unknown event type ${type}`,
      reason: 'unknown_event_type',
      event: { id: 'msg_1', type },
    });
  });

  it('refuses a refund with the id __proto__, which a stored object would lose', async () => {
    const data = { paymentId: 'order-77', refundedAmount: 4000, refundId: '__proto__' };
    await expect(translate('payment.refunded', data)).rejects.toThrow(refused('refundId'));
  });

  it('keeps a refund whose id is also a property of every object', async () => {
    const { facts } = await paymentOf('payment.refunded', {
      paymentId: 'order-77',
      refundedAmount: 4000,
      refundId: 'constructor',
    });
    expect(facts).toEqual({ refunds: { constructor: { amount: 4000, state: 'done' } } });
  });

  it.each([['a body that is no JSON', () => parseStandardEvent(Buffer.from('{'), 'msg_1'), 'invalid_json']])(
    'refuses a Standard Webhook with %s',
    async (_, act, code) => {
      await expect(act()).rejects.toThrow(expect.objectContaining({ code, status: 400 }));
    },
  );

  it.each([
    ['no timestamp', () => translate('payment.confirmed', data, { timestamp: undefined }), ['timestamp']],
    ['seconds as timestamp', () => translate('payment.confirmed', data, { timestamp: 1 }), ['timestamp']],
    ['no data', () => translate('payment.confirmed', undefined), ['data']],
    ['no payment id', () => translate('payment.confirmed', { ...data, paymentId: '' }), ['paymentId']],
    [
      'amounts in words and fractions',
      () => translate('payment.refunded', { ...data, amount: '90', refundedAmount: 0.5 }),
      ['amount', 'refundedAmount'],
    ],
    ['a refund of no amount', () => translate('payment.refunded', data), ['refundedAmount']],
    ['a list as booking', () => translate('payment.confirmed', { ...data, booking: [] }), ['booking']],
    ['a list as data', () => translate('payment.disputed', []), ['data']],
    ['no object at all', () => parseStandardEvent(Buffer.from('7'), 'msg_1'), ['']],
    [
      'a start that is no text',
      () => translate('payment.confirmed', { ...data, booking: { start: 1 } }),
      ['booking.start'],
    ],
  ])('refuses a Standard Webhook with %s, and names the field', async (_, act, fields) => {
    await expect(act()).rejects.toThrow(refused(...fields));
    await expect(act()).rejects.toSatisfy(({ problems }: AppError) =>
      problems.every(({ message }) => /^It (must be|is missing)/.test(message)),
    );
  });

  it('any signed Standard Webhook becomes a message, is ignored or is refused with 400', async () => {
    const change = fc.dictionary(
      fc.constantFrom('paymentId', 'bookingId', 'userId', 'amount', 'refundId', 'refundedAmount', 'booking'),
      fc.jsonValue(),
      { maxKeys: 3 },
    );
    const details = fc.dictionary(
      fc.constantFrom('summary', 'start', 'end', 'timeZone', 'location', '__proto__'),
      fc.string(),
    );
    const type = fc.constantFrom('payment.confirmed', 'payment.failed', 'payment.refunded', 'other');
    const event = fc.oneof(
      fc.jsonValue(),
      fc.tuple(type, change, details).map(([type, change, more]) => ({
        type,
        timestamp: at,
        data: { ...data, refundedAmount: 1, booking: { ...data.booking, ...more }, ...change },
      })),
      fc.tuple(type, fc.jsonValue()).map(([type, data]) => ({ type, timestamp: at, data })),
    );
    await fc.assert(
      fc.asyncProperty(event, async (event) => {
        try {
          const translation = await parseStandardEvent(Buffer.from(JSON.stringify(event)), 'msg_1');
          if ('payment' in translation) parseBookingMessage(queuedText(translation.payment));
        } catch (error) {
          expect(error).toBeInstanceOf(AppError);
          expect(error).toMatchObject({ status: 400 });
        }
      }),
      { numRuns: 1000 },
    );
  });
});
