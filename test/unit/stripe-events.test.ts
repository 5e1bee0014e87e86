import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { translateStripeEvent } from '../../functions/payment-confirmed/stripe-events.ts';

const fixture = (name: string) =>
  JSON.parse(readFileSync(new URL(`../fixtures/stripe/${name}.json`, import.meta.url), 'utf8'));
const metadata = {
  booking_id: 'booking-1',
  user_id: 'user-1',
  summary: 'First meeting',
  start: '2026-12-01T10:00:00+01:00',
  end: '2026-12-01T11:00:00+01:00',
};
const session = { ...fixture('checkout-session'), payment_intent: 'pi_1', payment_status: 'paid', metadata };
const intent = { ...fixture('payment-intent'), id: 'pi_1', metadata };

const translate = (type: string, object: object, more: object = {}) =>
  translateStripeEvent(
    Buffer.from(
      JSON.stringify({
        id: 'evt_1',
        object: 'event',
        type,
        created: 1_790_000_000,
        data: { object },
        ...more,
      }),
    ),
  );
const paymentOf = async (type: string, object: object) => {
  const translation = await translate(type, object);
  if ('ignored' in translation) throw new Error(`ignored: ${translation.ignored}`);
  return translation.payment;
};
const refused = (code: string) => expect.objectContaining({ code, status: 400 });

describe('translateStripeEvent', () => {
  it('translates a paid checkout session', async () => {
    expect(await paymentOf('checkout.session.completed', session)).toEqual({
      type: 'payment.confirmed',
      bookingId: 'booking-1',
      userId: 'user-1',
      payment: { provider: 'stripe', id: 'pi_1', eventId: 'evt_1', confirmedAt: '2026-09-21T14:13:20Z' },
      appointment: expect.objectContaining({
        summary: 'First meeting',
        startsAt: Date.UTC(2026, 11, 1, 9) / 1000,
      }),
      problems: [],
    });
  });

  it('gives session and payment intent of one checkout the same booking and payment', async () => {
    const ofSession = await paymentOf('checkout.session.completed', session);
    const ofIntent = await paymentOf('payment_intent.succeeded', intent);
    expect(ofIntent).toEqual(ofSession);
  });

  it('counts a session that needed no payment as paid, under its own id', async () => {
    const free = { ...session, payment_status: 'no_payment_required', payment_intent: null };
    expect((await paymentOf('checkout.session.completed', free)).payment.id).toBe(session.id);
  });

  it('leaves a session alone that completes unpaid, until its slow payment arrives', async () => {
    const unpaid = { ...session, payment_status: 'unpaid' };
    expect(await translate('checkout.session.completed', unpaid)).toEqual({ ignored: 'not paid yet' });
    expect((await paymentOf('checkout.session.async_payment_succeeded', session)).bookingId).toBe(
      'booking-1',
    );
  });

  it.each(['charge.succeeded', 'invoice.paid', 'payment_intent.payment_failed', 'constructor', '__proto__'])(
    'ignores %s',
    async (type) => {
      expect(await translate(type, session)).toEqual({ ignored: `event type ${type}` });
    },
  );

  it.each([
    ['no metadata', {}],
    ['null as metadata', null],
    ['metadata of somebody else', { user_id: 'u', order: '7' }],
  ])('ignores a payment with %s', async (_, foreign) => {
    expect(await translate('payment_intent.succeeded', { ...intent, metadata: foreign })).toEqual({
      ignored: 'no booking in its metadata',
    });
  });

  it('records a paid booking that cannot be used, with all its problems, under its own id', async () => {
    const { start: _, ...noStart } = metadata;
    const payment = await paymentOf('payment_intent.succeeded', {
      ...intent,
      metadata: { ...noStart, user_id: '' },
    });
    expect(payment).toMatchObject({ bookingId: 'booking-1', payment: { id: 'pi_1' } });
    expect(payment).not.toHaveProperty('appointment');
    expect(payment).not.toHaveProperty('userId');
    expect(payment.problems.map(({ field }) => field)).toEqual(['user_id', 'start']);
  });

  it.each([{ booking_id: 'a b' }, { booking_id: 'x'.repeat(129) }, { booking_id: '' }])(
    'records a paid booking under its payment where its own id is unusable: %j',
    async (change) => {
      const payment = await paymentOf('payment_intent.succeeded', {
        ...intent,
        metadata: { ...metadata, ...change },
      });
      expect(payment.bookingId).toBe('pi_1');
      expect(payment.problems).toEqual([expect.objectContaining({ field: 'booking_id' })]);
    },
  );

  it.each([
    ['a body that is cut off', Buffer.from('{"id":"evt_1"'), 'invalid_json'],
    ['an empty body', Buffer.alloc(0), 'invalid_json'],
    ['bytes', Buffer.from([0xff, 0xfe, 0x00]), 'invalid_json'],
    ['a list', Buffer.from('[]'), 'unsupported_event_format'],
    ['null', Buffer.from('null'), 'unsupported_event_format'],
    [
      'an event without data',
      Buffer.from('{"id":"evt_1","object":"event","type":"x","created":1}'),
      'unsupported_event_format',
    ],
    [
      'a thin event',
      Buffer.from('{"id":"evt_1","object":"v2.core.event","type":"v1.payment_intent.succeeded"}'),
      'unsupported_event_format',
    ],
  ])('refuses %s', async (_, body, code) => {
    await expect(translateStripeEvent(body)).rejects.toThrow(refused(code));
  });

  it('refuses an object that lacks what its type promises', async () => {
    await expect(translate('checkout.session.completed', { metadata })).rejects.toThrow(
      refused('unsupported_event_format'),
    );
    await expect(translate('payment_intent.succeeded', { ...intent, id: 'a b' })).rejects.toThrow(
      refused('unsupported_event_format'),
    );
  });
});
