/** Signed events of Stripe that are not a payment for this deployment. */
import { describe, expect, it } from 'vitest';
import type { StripeMode } from '../../shared/lib/config.ts';
import { type FetchObject, parseStripeEvent } from '../../shared/payments/stripe/events.ts';
import { objectParsers } from '../../shared/payments/stripe/object-parsers.ts';
import { stripeSettings } from '../fixtures/stripe-settings.ts';
import { charge, intent, refund, session, snapshot, thin } from './stripe.ts';

const noFetch: FetchObject = async () => {
  throw new Error('An ignored event must not be fetched.');
};
const translate = (event: object, served: StripeMode = 'both') =>
  parseStripeEvent(event, { ...stripeSettings, stripeMode: served }, noFetch);
const succeeded = (change: object) => snapshot('payment_intent.succeeded', intent(), change);
const thinSucceeded = (change: object) =>
  thin('v1.payment_intent.succeeded', '/v1/payment_intents/pi_1', change);

describe('the mode of an event', () => {
  it.each<[StripeMode, object, 'accepted' | 'ignored']>([
    ['live', { livemode: true }, 'accepted'],
    ['live', { livemode: false }, 'ignored'],
    ['live', { livemode: undefined }, 'ignored'],
    ['test', { livemode: true }, 'ignored'],
    ['test', { livemode: false }, 'accepted'],
    ['test', { livemode: undefined }, 'accepted'],
    ['both', { livemode: true }, 'accepted'],
    ['both', { livemode: false }, 'accepted'],
  ])('in a deployment that serves %s the mode %j is %s', async (served, change, outcome) => {
    const translation = await translate(succeeded(change), served);
    if (outcome === 'accepted') expect(translation).toHaveProperty('payment');
    else
      expect(translation).toMatchObject({ reason: 'other_mode', ignored: expect.stringContaining(served) });
  });

  it('checks the mode of every event type before fetching a thin event', async () => {
    for (const type of [...objectParsers.keys(), 'charge.succeeded', 'unknown']) {
      const ignored = { reason: 'other_mode', event: { type } };
      expect(await translate(snapshot(type, {}, { livemode: false }), 'live')).toMatchObject(ignored);
      expect(await translate(thin(`v1.${type}`, '/v1/x/x_1', { livemode: false }), 'live')).toMatchObject(
        ignored,
      );
    }
  });
});

describe('the account of an event', () => {
  it.each([{ account: 'acct_1' }, { context: 'acct_1' }, { context: 'org_1/acct_1' }])(
    'ignores an event of a connected account: %j',
    async (change) => {
      const event = { id: 'evt_1', type: 'payment_intent.succeeded' };
      expect(await translate(succeeded(change))).toMatchObject({ reason: 'connected_account', event });
      expect(await translate(thinSucceeded(change))).toMatchObject({ reason: 'connected_account' });
      const expired = snapshot('checkout.session.expired', session(), change);
      expect(await translate(expired)).toMatchObject({ reason: 'connected_account' });
      const refunded = snapshot('refund.created', refund(), change);
      expect(await translate(refunded)).toMatchObject({ reason: 'connected_account' });
    },
  );

  it.each([{}, { account: null, context: null }, { account: '', context: '' }])(
    'accepts an event that names no connected account: %j',
    async (change) => {
      expect(await translate(succeeded(change))).toHaveProperty('payment');
    },
  );
});

describe('a session', () => {
  const types = [...objectParsers.keys()].filter((type) => type.startsWith('checkout.session.'));

  it.each(types)('ignores a setup or subscription session with its reason in %s', async (type) => {
    const of = (mode: string) => translate(snapshot(type, session({ mode, payment_intent: null })));
    expect(await of('setup')).toMatchObject({ reason: 'setup_session' });
    expect(await of('subscription')).toMatchObject({
      reason: 'subscription',
      ignored: expect.stringContaining('Use mode payment'),
    });
  });

  it.each([
    ['payment', 'payment'],
    [undefined, 'payment'],
    ['setup', 'ignored'],
    ['a mode of next year', 'ignored'],
  ])('a session without required payment counts as paid only in mode payment: %s', async (mode, outcome) => {
    const free = session({ mode, payment_status: 'no_payment_required', amount_total: 0 });
    expect(await translate(snapshot('checkout.session.completed', free))).toHaveProperty(outcome);
  });
});

describe('other ways to take money', () => {
  it('ignores a charge without a payment intent and advises a supported way', async () => {
    const alone = charge({ payment_intent: null, metadata: { booking_id: 'b1' } });
    expect(await translate(snapshot('charge.succeeded', alone))).toMatchObject({
      reason: 'charge_without_intent',
      ignored: expect.stringContaining('PaymentIntent'),
    });
    expect(await translate(snapshot('charge.succeeded', charge()))).toMatchObject({ reason: 'event_type' });
  });
});

describe('a Payment Link', () => {
  const linked = (change: object = {}) =>
    session({ metadata: {}, payment_link: 'plink_1', client_reference_id: 'b1', ...change });
  const completed = (object: object, type = 'checkout.session.completed') =>
    translate(snapshot(type, object));

  it.each(['checkout.session.completed', 'checkout.session.async_payment_succeeded'])(
    'client_reference_id references a declared booking if metadata of %s names none',
    async (type) => {
      expect(await completed(linked(), type)).toMatchObject({
        payment: { paymentId: 'pi_1', booking: { bookingId: 'b1', mustExist: true, problems: [] } },
      });
    },
  );

  it('client_reference_id is ignored if metadata names a booking', async () => {
    const { metadata } = session();
    expect(await completed(linked({ metadata }))).toMatchObject({
      payment: { booking: { bookingId: 'booking-1', userId: 'user-1' } },
    });
    expect(await completed(linked({ metadata: { booking_id: 'b2' } }))).toMatchObject({
      payment: { booking: { bookingId: 'b2', problems: expect.arrayContaining([expect.anything()]) } },
    });
  });

  it('metadata of a Payment Link, which its session has, define the booking', async () => {
    const { metadata } = session();
    const paid = linked({ metadata, client_reference_id: null });
    expect(await completed(paid)).toMatchObject({
      payment: { paymentId: 'pi_1', booking: { bookingId: 'booking-1', appointment: {}, problems: [] } },
    });
  });

  it.each(['a b', '', 'x'.repeat(129), 7, null, {}])(
    'client_reference_id that is not an id is ignored: %j',
    async (client_reference_id) => {
      expect(await completed(linked({ client_reference_id }))).toMatchObject({ reason: 'no_booking' });
    },
  );

  it.each(['checkout.session.expired', 'checkout.session.async_payment_failed'])(
    'client_reference_id cannot end a hold by %s, since the payer may choose it',
    async (type) => {
      expect(await completed(linked({ payment_status: 'unpaid' }), type)).toMatchObject({
        reason: 'no_booking',
      });
    },
  );
});
