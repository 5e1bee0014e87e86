import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { parseBookingMessage } from '../../functions/booking-sync/read-message.ts';
import { AppError } from '../../shared/lib/app-error.ts';
import { type FetchObject, parseStripeEvent } from '../../shared/payments/stripe/events.ts';
import { ignoredTypeNames } from '../../shared/payments/stripe/ignored-types.ts';
import { objectParsers } from '../../shared/payments/stripe/object-parsers.ts';
import { queuedText } from '../fakes/queue.ts';
import { stripeSettings } from '../fixtures/stripe-settings.ts';
import {
  charge,
  createdAt,
  dispute,
  intent,
  invoice,
  metadata,
  refund,
  session,
  snapshot,
  thin,
} from './stripe.ts';

const noFetch: FetchObject = async () => {
  throw new Error('A snapshot event needs no call.');
};
const received = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
const translate = (type: string, object: unknown) =>
  parseStripeEvent(received(snapshot(type, object)), stripeSettings, noFetch);
const paymentOf = async (type: string, object: unknown) => {
  const translation = await translate(type, object);
  if ('ignored' in translation) throw new Error(`ignored: ${translation.ignored}`);
  return translation.payment;
};
const refused = (code: string) => expect.objectContaining({ code, status: 400 });

const booking = {
  bookingId: 'booking-1',
  userId: 'user-1',
  appointment: expect.objectContaining({
    summary: 'First meeting',
    startsAt: Date.UTC(2026, 11, 1, 9) / 1000,
  }),
  problems: [],
};
const confirmed = { facts: { confirmedAt: createdAt, amount: 9000 }, booking };
const succeeded = { facts: { confirmedAt: createdAt, amount: 9000, captured: 9000 }, booking };
const failed = { facts: { failedAt: createdAt }, booking };
const refunded = (state: string) => ({ facts: { refunds: { re_1: { amount: 4000, state } } } });
const disputed = (state: string) => ({ facts: { disputes: { dp_1: { amount: 9000, state } } } });

/** Every relevant event type with possible objects and their translation. */
const table: [string, object, object][] = [
  ['checkout.session.completed', session(), confirmed],
  [
    'checkout.session.completed',
    session({ payment_status: 'no_payment_required', amount_total: 0 }),
    { facts: { confirmedAt: createdAt, amount: 0 }, booking },
  ],
  [
    'checkout.session.completed',
    session({ amount_total: null }),
    { facts: { confirmedAt: createdAt }, booking },
  ],
  ['checkout.session.async_payment_succeeded', session(), confirmed],
  ['checkout.session.async_payment_failed', session({ payment_status: 'unpaid' }), failed],
  ['checkout.session.expired', session({ payment_status: 'unpaid', status: 'expired' }), failed],
  ['payment_intent.succeeded', intent(), succeeded],
  [
    'payment_intent.succeeded',
    intent({ amount: 10_000 }),
    { facts: { confirmedAt: createdAt, amount: 10_000, captured: 9000 }, booking },
  ],
  ['payment_intent.succeeded', intent({ amount_received: undefined }), confirmed],
  [
    'payment_intent.succeeded',
    intent({ amount: undefined, amount_received: undefined }),
    { facts: { confirmedAt: createdAt }, booking },
  ],
  ['payment_intent.canceled', intent({ amount_received: 0, status: 'canceled' }), failed],
  ['charge.expired', charge({ amount_captured: 0, amount_refunded: 0, metadata }), failed],
  ['charge.refunded', charge(), { facts: { amount: 9000, captured: 9000, refundedTotal: 9000 } }],
  [
    'charge.refunded',
    charge({ amount_refunded: 4000 }),
    { facts: { amount: 9000, captured: 9000, refundedTotal: 4000 } },
  ],
  [
    'charge.refunded',
    charge({ amount_captured: undefined, amount_refunded: 4000 }),
    { facts: { amount: 9000, refundedTotal: 4000 } },
  ],
  [
    'charge.refunded',
    charge({ amount_captured: 4000, amount_refunded: 4000 }),
    { facts: { amount: 9000, captured: 4000, refundedTotal: 4000 } },
  ],
  ['refund.created', refund({ status: 'pending' }), refunded('open')],
  ['refund.created', refund({ status: 'succeeded' }), refunded('done')],
  ['refund.updated', refund({ status: 'requires_action' }), refunded('open')],
  ['refund.updated', refund({ status: 'canceled' }), refunded('failed')],
  ['refund.updated', refund({ status: null }), refunded('open')],
  ['refund.updated', refund({ status: 'a word of next year' }), refunded('open')],
  ['refund.failed', refund({ status: 'failed' }), refunded('failed')],
  ['charge.refund.updated', refund({ status: 'succeeded' }), refunded('done')],
  ['charge.dispute.created', dispute({ status: 'needs_response' }), disputed('open')],
  ['charge.dispute.created', dispute({ status: 'warning_needs_response' }), disputed('open')],
  ['charge.dispute.closed', dispute({ status: 'won' }), disputed('won')],
  ['charge.dispute.closed', dispute({ status: 'warning_closed' }), disputed('won')],
  ['charge.dispute.closed', dispute({ status: 'lost' }), disputed('lost')],
  ['charge.dispute.closed', dispute({ status: 'a word of next year' }), disputed('open')],
  [
    'charge.dispute.closed',
    dispute({ status: 'lost', amount: null }),
    { facts: { disputes: { dp_1: { state: 'lost' } } } },
  ],
  ['invoice.paid', invoice({ payment_intent: 'pi_1', charge: 'ch_1' }), confirmed],
  ['invoice.voided', invoice({ status: 'void', amount_paid: 0 }), { paymentId: 'in_1', ...failed }],
  [
    'invoice.marked_uncollectible',
    invoice({ status: 'uncollectible', amount_paid: 0 }),
    { paymentId: 'in_1', ...failed },
  ],
];

describe('parseStripeEvent', () => {
  it.each(table)('translates a Stripe event: %s', async (type, object, expected) => {
    const payment = await paymentOf(type, object);
    expect(payment).toEqual({ type: 'payment', paymentId: 'pi_1', eventId: 'evt_1', ...expected });
    expect(parseBookingMessage(queuedText(payment))).toEqual({ ...payment, schemaVersion: 1 });
  });

  it('tests each Stripe event type that has a reader', () => {
    expect([...new Set(table.map(([type]) => type))]).toEqual([...objectParsers.keys()]);
  });

  it('without a payment intent identifies the payment by its charge or session', async () => {
    const alone = { payment_intent: null };
    expect((await paymentOf('checkout.session.completed', session(alone))).paymentId).toBe('cs_1');
    expect((await paymentOf('charge.refunded', charge(alone))).paymentId).toBe('ch_1');
    expect((await paymentOf('refund.created', refund(alone))).paymentId).toBe('ch_1');
    expect((await paymentOf('charge.dispute.created', dispute(alone))).paymentId).toBe('ch_1');
  });

  it('ignores a refund without a payment', async () => {
    expect(await translate('refund.created', refund({ payment_intent: null, charge: null }))).toMatchObject({
      ignored: 'a refund of no payment',
      reason: 'refund_without_payment',
    });
  });

  it('ignores a session that completes unpaid, until its delayed payment arrives', async () => {
    const unpaid = session({ payment_status: 'unpaid' });
    expect(await translate('checkout.session.completed', unpaid)).toMatchObject({
      ignored: 'not paid yet',
      reason: 'not_paid_yet',
    });
  });

  it.each(ignoredTypeNames)('ignores %s on purpose', async (type) => {
    expect(objectParsers.has(type)).toBe(false);
    expect(await translate(type, {})).toEqual({
      ignored: expect.stringContaining(`event type ${type}`),
      reason: 'event_type',
      event: { id: 'evt_1', type },
    });
  });

  it.each(['radar.early_fraud_warning.created', 'constructor', '__proto__', ''])(
    'reports an ignored unknown event type: %j',
    async (type) => {
      expect(await translate(type, session())).toEqual({
        ignored: `unknown event type ${type}`,
        reason: 'unknown_event_type',
        event: { id: 'evt_1', type },
      });
    },
  );

  describe.each([
    ['payment_intent.succeeded', intent],
    ['checkout.session.async_payment_failed', session],
    ['checkout.session.expired', session],
    ['payment_intent.canceled', intent],
    ['charge.expired', charge],
  ])('%s', (type, object) => {
    it.each([
      ['no metadata', {}],
      ['null as metadata', null],
      ['metadata of another system', { user_id: 'u', order: '7' }],
    ])('ignores an event with %s', async (_, foreign) => {
      expect(await translate(type, object({ metadata: foreign }))).toMatchObject({
        ignored: 'no booking in its metadata',
        reason: 'no_booking',
      });
    });
  });

  it('a booking without an id gets the same id from session and payment intent', async () => {
    const { booking_id: _, ...anonymous } = metadata;
    const ofSession = await paymentOf('checkout.session.completed', session({ metadata: anonymous }));
    const ofIntent = await paymentOf('payment_intent.succeeded', intent({ metadata: anonymous }));
    expect(ofSession.booking).toEqual({ ...booking, bookingId: 'pi_1' });
    expect(ofIntent.booking).toEqual(ofSession.booking);
  });

  it('references a declared booking by id alone, with problems if it does not exist', async () => {
    const payment = await paymentOf('payment_intent.succeeded', intent({ metadata: { booking_id: 'b-1' } }));
    expect(payment.booking?.bookingId).toBe('b-1');
    expect(payment.booking?.problems.map(({ field }) => field)).toEqual([
      'user_id',
      'summary',
      'start',
      'end',
    ]);
  });

  it.each([
    ['payment_intent.succeeded', intent({ id: '__proto__' })],
    ['checkout.session.completed', session({ payment_intent: '__proto__' })],
    ['refund.created', refund({ id: '__proto__' })],
    ['charge.refunded', charge({ payment_intent: '__proto__' })],
    ['charge.dispute.created', dispute({ id: '__proto__' })],
  ])('refuses %s with the id __proto__, which a stored object would lose', async (type, object) => {
    await expect(paymentOf(type, object)).rejects.toThrow(refused('unsupported_event_format'));
  });

  it('records a paid but unusable booking, with all its problems, under its own id', async () => {
    const { start: _, ...noStart } = metadata;
    const { booking } = await paymentOf(
      'payment_intent.succeeded',
      intent({ metadata: { ...noStart, user_id: '' } }),
    );
    expect(booking).toEqual({
      bookingId: 'booking-1',
      unusableUser: true,
      paymentTexts: expect.objectContaining({ bookingId: 'booking-1', userId: '' }),
      problems: [expect.anything(), expect.anything()],
    });
    expect(booking?.problems.map(({ field }) => field)).toEqual(['user_id', 'start']);
  });

  it.each([{ booking_id: 'a b' }, { booking_id: 'x'.repeat(129) }, { booking_id: '' }])(
    'records a paid booking under its payment if its own id is unusable: %j',
    async (change) => {
      const { booking } = await paymentOf(
        'payment_intent.succeeded',
        intent({ metadata: { ...metadata, ...change } }),
      );
      expect(booking?.bookingId).toBe('pi_1');
      expect(booking).not.toHaveProperty('appointment');
      expect(booking?.problems).toEqual([expect.objectContaining({ field: 'booking_id' })]);
    },
  );

  it.each([
    ['a list', []],
    ['null', null],
    ['an event without data', { id: 'evt_1', object: 'event', type: 'x' }],
    ['a thin event without more', { id: 'evt_1', object: 'v2.core.event' }],
  ])('refuses what is no event of Stripe: %s', async (_, value) => {
    await expect(parseStripeEvent(value, stripeSettings, noFetch)).rejects.toThrow(
      refused('unsupported_event_format'),
    );
  });

  it.each([
    ['checkout.session.completed', { metadata }],
    ['payment_intent.succeeded', intent({ id: 'a b' })],
    ['payment_intent.succeeded', intent({ amount: 10.5 })],
    ['charge.refunded', charge({ amount_refunded: -1 })],
    ['refund.created', refund({ amount: undefined })],
    ['charge.dispute.closed', dispute({ status: null })],
  ])('refuses an object without the fields that %s promises, and names them', async (type, object) => {
    const error = await translate(type, object).catch((it: unknown) => it);
    expect(error).toEqual(refused('unsupported_event_format'));
    expect((error as AppError).problems[0]?.field).toBeTruthy();
  });
});

describe('thin events', () => {
  const url = '/v1/payment_intents/pi_1';

  it('completed thin events mean the same as their snapshots', async () => {
    for (const [type, object, expected] of table) {
      const fetchObject = vi.fn<FetchObject>(async () => object);
      const event = thin(`v1.${type}`, url);
      expect(await parseStripeEvent(received(event), stripeSettings, fetchObject)).toEqual({
        payment: { type: 'payment', paymentId: 'pi_1', eventId: 'evt_thin_1', ...expected },
      });
      expect(fetchObject).toHaveBeenCalledWith(
        expect.objectContaining({ related_object: expect.objectContaining({ url }) }),
      );
    }
  });

  it('a thin event uses the id of the snapshot event for the same change', async () => {
    const event = thin('v1.payment_intent.succeeded', url, { snapshot_event: 'evt_1' });
    expect(await parseStripeEvent(received(event), stripeSettings, async () => intent())).toEqual(
      await translate('payment_intent.succeeded', intent()),
    );
  });

  it.each(['v1.charge.succeeded', 'v1.charge.captured'])(
    'ignores a thin event without fetching its object: %s',
    async (type) => {
      expect(await parseStripeEvent(received(thin(type, url)), stripeSettings, noFetch)).toMatchObject({
        ignored: `event type ${type.slice(3)}`,
        reason: 'event_type',
      });
    },
  );

  it('ignores thin events of the v2 API as unknown', async () => {
    for (const url of ['/v2/core/accounts/acct_1', undefined])
      expect(
        await parseStripeEvent(received(thin('v2.core.account.updated', url)), stripeSettings, noFetch),
      ).toMatchObject({
        ignored: 'unknown event type v2.core.account.updated',
        reason: 'unknown_event_type',
      });
  });

  it.each([
    undefined,
    'https://example.com/v1/x',
    '//example.com/v1/x',
    '/v1/../x',
    '/v1/charges/ch_1?expand=x',
    '/v1@example.com',
    '/v2/core/x',
  ])("refuses to fetch a thin event's object outside the API: %s", async (path) => {
    await expect(
      parseStripeEvent(received(thin('v1.charge.refunded', path)), stripeSettings, noFetch),
    ).rejects.toThrow(refused('unsupported_event_format'));
  });
});

describe('any signed event', () => {
  const types = [...objectParsers.keys()];
  const mostly = (usual: fc.Arbitrary<unknown>) =>
    fc.oneof({ weight: 9, arbitrary: usual }, { weight: 1, arbitrary: fc.jsonValue() });
  const ids = mostly(fc.constantFrom('pi_1', 'ch_1', '__proto__', null));
  const details = fc.dictionary(
    fc.constantFrom('booking_id', 'user_id', 'summary', 'start', 'end', 'time_zone', '__proto__'),
    fc.oneof(
      fc.string(),
      fc.constantFrom('2026-12-01T10:00:00', '0000-01-01T00:00:00Z', '2026-12-01T10:00:00+23:59'),
      fc.constantFrom('Europe/Berlin', 'Etc/GMT+12', 'EST', '+01:00'),
    ),
  );
  const change = fc.record(
    {
      id: ids,
      payment_intent: ids,
      charge: ids,
      payment_status: fc.constantFrom('paid', 'unpaid', 'no_payment_required', 1),
      status: fc.oneof(fc.string(), fc.constantFrom('won', 'lost', 'failed', 'constructor')),
      amount: mostly(fc.nat()),
      amount_total: mostly(fc.nat()),
      amount_received: mostly(fc.nat()),
      amount_refunded: mostly(fc.nat()),
      amount_paid: mostly(fc.nat()),
      paid_out_of_band: mostly(fc.boolean()),
      billing_reason: mostly(fc.constantFrom('manual', 'subscription_cycle')),
      data: mostly(fc.array(fc.constant({ status: 'paid', payment: { payment_intent: 'pi_1' } }))),
      metadata: mostly(details),
    },
    { requiredKeys: [] },
  );
  const object = fc.oneof(
    fc.jsonValue(),
    fc.tuple(fc.constantFrom(...table), change).map(([[, real], change]) => ({ ...real, ...change })),
  );
  const type = fc.oneof(fc.constantFrom(...types), fc.string());
  const url = fc.oneof(fc.webPath(), fc.constant('/v1/charges/ch_1'));
  const envelope = fc.dictionary(
    fc.constantFrom('id', 'created', 'data', 'object', 'type', 'related_object', 'context'),
    fc.jsonValue(),
  );
  const event = fc.oneof(
    fc.jsonValue(),
    fc.tuple(type, object).map(([type, object]) => snapshot(type, object)),
    fc
      .tuple(fc.constantFrom(...table), change)
      .map(([[type, real], change]) => snapshot(type, { ...real, ...change })),
    fc.tuple(type, object, envelope).map(([type, object, change]) => snapshot(type, object, change)),
    fc.tuple(type, url).map(([type, url]) => thin(`v1.${type}`, url)),
    fc.tuple(type, envelope).map(([type, change]) => thin(`v1.${type}`, '/v1/charges/ch_1', change)),
  );

  it('any signed Stripe event becomes a message, is ignored or is refused with 400', async () => {
    const seen = { payment: 0, ignored: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(event, object, async (event, fetched) => {
        try {
          const translation = await parseStripeEvent(received(event), stripeSettings, async () => fetched);
          if ('ignored' in translation) seen.ignored += 1;
          else {
            seen.payment += 1;
            parseBookingMessage(queuedText(translation.payment));
          }
        } catch (error) {
          expect(error).toBeInstanceOf(AppError);
          expect(error).toMatchObject({ status: 400 });
          seen.refused += 1;
        }
      }),
      { numRuns: 4000 },
    );
    // The property would say little if only one of the three ever happened.
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(100);
  });
});
