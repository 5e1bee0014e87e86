/** Paid invoices: which payment they count as, and which of them count. */
import { describe, expect, it, vi } from 'vitest';
import { AppError } from '../../shared/lib/app-error.ts';
import type { InvoicesPaidOutOfBand } from '../../shared/lib/config.ts';
import { type FetchObject, parseStripeEvent } from '../../shared/payments/stripe/events.ts';
import { stripeSettings } from '../fixtures/stripe-settings.ts';
import { charge, createdAt, intent, invoice, invoicePayments, metadata, snapshot, thin } from './stripe.ts';

const noFetch: FetchObject = async () => {
  throw new Error('This event needs no call.');
};
const answer =
  (...changes: object[]): FetchObject =>
  async () =>
    invoicePayments(...changes);
const payment = (paymentId: string, change: object = {}) => ({
  payment: { type: 'payment_intent', payment_intent: paymentId },
  ...change,
});
const recorded = { payment: { type: 'payment_record', payment_record: 'pr_1' } };
const translate = (
  event: object,
  fetchObject: FetchObject = noFetch,
  invoicesPaidOutOfBand: InvoicesPaidOutOfBand = 'ignore',
) =>
  parseStripeEvent(
    JSON.parse(JSON.stringify(event)),
    { ...stripeSettings, invoicesPaidOutOfBand },
    fetchObject,
  );
const paid = (change: object = {}, event: object = {}) => snapshot('invoice.paid', invoice(change), event);
const booked = { booking: { bookingId: 'booking-1', userId: 'user-1', problems: [] } };

describe('a paid invoice', () => {
  it('counts as its payment intent, which Stripe is asked for', async () => {
    const fetchObject = vi.fn(answer({}));
    expect(await translate(paid(), fetchObject)).toMatchObject({
      payment: { paymentId: 'pi_1', facts: { confirmedAt: createdAt, amount: 9000 }, ...booked },
    });
    expect(fetchObject.mock.calls).toEqual([
      [
        {
          id: 'evt_1',
          livemode: false,
          related_object: { url: '/v1/invoice_payments?invoice=in_1&limit=100' },
        },
      ],
    ]);
  });

  it('is completed from a thin event by two calls', async () => {
    const fetchObject = vi.fn<FetchObject>(async ({ related_object: { url } }) =>
      url === '/v1/invoices/in_1' ? invoice() : invoicePayments({}),
    );
    const event = thin('v1.invoice.paid', '/v1/invoices/in_1');
    expect(await translate(event, fetchObject)).toMatchObject({ payment: { paymentId: 'pi_1', ...booked } });
    expect(fetchObject).toHaveBeenCalledTimes(2);
  });

  it.each([
    [{ payment_intent: 'pi_1', charge: 'ch_1' }, 'pi_1'],
    [{ payment_intent: null, charge: 'ch_1' }, 'ch_1'],
  ])('of an older API version counts as the payment that it names: %j', async (named, paymentId) => {
    const event = paid(
      { ...named, paid: true, paid_out_of_band: false, subscription: null },
      { api_version: '2024-06-20' },
    );
    expect(await translate(event)).toMatchObject({
      payment: { paymentId, facts: { amount: 9000 }, ...booked },
    });
  });

  it('counts as a charge if its payment has no payment intent', async () => {
    const found = answer({ payment: { type: 'charge', charge: 'ch_1' } });
    expect(await translate(paid(), found)).toMatchObject({ payment: { paymentId: 'ch_1' } });
  });

  it.each([
    ['the largest', [payment('pi_3', { amount_paid: 1 }), payment('pi_2', { amount_paid: 8999 })], 'pi_2'],
    [
      'the latest of equal ones',
      [payment('pi_2', { amount_paid: 4500 }), payment('pi_1', { amount_paid: 4500 })],
      'pi_2',
    ],
    ['none that was canceled', [payment('pi_2', { status: 'canceled' }), payment('pi_1')], 'pi_1'],
    ['none that is open', [payment('pi_2', { status: 'open', amount_paid: null }), payment('pi_1')], 'pi_1'],
    [
      'none outside of Stripe',
      [{ ...recorded, amount_paid: 8000 }, payment('pi_1', { amount_paid: 1000 })],
      'pi_1',
    ],
  ])('counts as one of its payments: %s', async (_, payments, paymentId) => {
    expect(await translate(paid(), answer(...payments))).toMatchObject({ payment: { paymentId } });
  });

  it('without an amount counts under its own id, without a call', async () => {
    const free = paid({ amount_due: 0, amount_paid: 0 });
    expect(await translate(free)).toMatchObject({
      payment: { paymentId: 'in_1', facts: { confirmedAt: createdAt, amount: 0 }, ...booked },
    });
  });

  it('is ignored without a call if its metadata names no booking', async () => {
    expect(await translate(paid({ metadata: {} }))).toMatchObject({ reason: 'no_booking' });
  });

  it('gives a booking without an id the id of its payment intent, as the intent does', async () => {
    const { booking_id: _, ...anonymous } = metadata;
    const ofInvoice = await translate(paid({ metadata: anonymous }), answer({}));
    const ofIntent = await translate(snapshot('payment_intent.succeeded', intent({ metadata: anonymous })));
    expect(ofInvoice).toMatchObject({ payment: { booking: { bookingId: 'pi_1' } } });
    expect(ofIntent).toMatchObject({ payment: { booking: { bookingId: 'pi_1' } } });
  });

  it('and every other event about its money name one payment', async () => {
    const withoutMetadata = intent({ metadata: {} });
    expect(await translate(snapshot('payment_intent.succeeded', withoutMetadata))).toMatchObject({
      reason: 'no_booking',
    });
    for (const type of ['charge.succeeded', 'invoice_payment.paid', 'invoice.payment_succeeded'])
      expect(await translate(snapshot(type, {}))).toMatchObject({ reason: 'event_type' });
    expect(await translate(paid(), answer({}))).toMatchObject({ payment: { paymentId: 'pi_1' } });
    expect(await translate(snapshot('charge.refunded', charge()))).toMatchObject({
      payment: { paymentId: 'pi_1' },
    });
  });

  it('is ignored, with the remedy, if there is no API key to ask for its payment', async () => {
    const withoutKey: FetchObject = async () => {
      throw new AppError('unsupported_event_format', 'No key.', { status: 400 });
    };
    expect(await translate(paid(), withoutKey)).toEqual({
      ignored: expect.stringContaining('stripe-api'),
      reason: 'invoice_needs_key',
      event: { id: 'evt_1', type: 'invoice.paid' },
    });
  });
});

describe('an invoice paid out of band', () => {
  const old = paid(
    { paid_out_of_band: true, amount_paid: 0, payment_intent: 'pi_canceled', charge: null },
    { api_version: '2024-06-20' },
  );
  it.each<[string, object, FetchObject]>([
    ['an older API version says so', old, noFetch],
    ['only a record exists', paid(), answer(recorded, payment('pi_1', { status: 'canceled' }))],
    ['Stripe knows no payment', paid(), answer()],
  ])('is ignored by default, and counts under its own id by the option: %s', async (_, event, found) => {
    expect(await translate(event, found)).toMatchObject({
      reason: 'paid_out_of_band',
      ignored: expect.stringContaining('invoicesPaidOutOfBand'),
    });
    expect(await translate(event, found, 'count')).toMatchObject({
      payment: { paymentId: 'in_1', facts: { confirmedAt: createdAt, amount: 9000 }, ...booked },
    });
  });
});

describe('an invoice of a subscription', () => {
  const types = ['invoice.paid', 'invoice.voided', 'invoice.marked_uncollectible'];
  it.each([
    { billing_reason: 'subscription_create' },
    { billing_reason: 'subscription' },
    { billing_reason: 'manual', subscription: 'sub_1' },
    { parent: { type: 'subscription_details', subscription_details: { subscription: 'sub_1' } } },
  ])('is ignored in every event, and advises a supported way: %j', async (change) => {
    for (const type of types)
      expect(await translate(snapshot(type, invoice(change)))).toMatchObject({
        reason: 'subscription',
        ignored: expect.stringContaining('Send an invoice of its own'),
      });
  });

  it.each([{ billing_reason: null }, { parent: { type: 'quote_details', subscription_details: null } }])(
    'is not taken for one of its own: %j',
    async (change) => {
      expect(await translate(paid(change), answer({}))).toMatchObject({ payment: { paymentId: 'pi_1' } });
    },
  );
});
