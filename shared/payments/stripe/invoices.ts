import * as v from 'valibot';
import { hasCode } from '../../lib/app-error.ts';
import type { InvoicesPaidOutOfBand } from '../../lib/config.ts';
import type { Ignored } from '../parse-event.ts';
import { amount, type Invoice, parseObject, stripeId } from './object-parsers.ts';

/** What an invoice counts as: `paymentId` is what its refunds and disputes name. */
type PaidBy = { paymentId: string; amount?: number };

const list = v.object({
  data: v.array(
    v.object({
      amount_paid: v.nullish(amount),
      payment: v.object({ payment_intent: v.nullish(stripeId), charge: v.nullish(stripeId) }),
      status: v.string(),
    }),
  ),
});

/**
 * The payment of a paid invoice. Since API version 2025-03-31 an invoice does not name it, so `fetchPayments` asks
 * Stripe; it fails with `unsupported_event_format` where no API key is stored.
 */
export async function paymentOfInvoice(
  invoice: Invoice,
  outOfBand: InvoicesPaidOutOfBand,
  fetchPayments: () => Promise<unknown>,
): Promise<PaidBy | Ignored> {
  if (invoice.paid_out_of_band) return paidOutOfBand(invoice, outOfBand);
  // Nothing was due, or the customer's credit covered it: there will be no refund.
  if (invoice.amount_paid === 0) return { paymentId: invoice.id, amount: 0 };
  const named = invoice.payment_intent ?? invoice.charge;
  if (named) return paidBy(named, invoice.amount_paid);
  const payments = await fetchIfPossible(fetchPayments);
  if (payments === undefined) return withoutKey;
  return largestOf(payments) ?? paidOutOfBand(invoice, outOfBand);
}

/** The path of an invoice's payments in Stripe's API. */
export const paymentsPath = (invoiceId: string): string =>
  `/v1/invoice_payments?invoice=${invoiceId}&limit=100`;

const withoutKey: Ignored = {
  ignored:
    'an invoice does not name its payment, and Stripe cannot be asked for it: put an API key that may read invoices into the secret stripe-api, and send the event again',
  reason: 'invoice_needs_key',
};

async function fetchIfPossible(fetchPayments: () => Promise<unknown>): Promise<unknown> {
  try {
    return await fetchPayments();
  } catch (error) {
    if (hasCode(error, 'unsupported_event_format')) return undefined;
    throw error;
  }
}

/** The largest payment, the latest of equal ones: Stripe lists the latest first. One payment pays for a booking. */
function largestOf(payments: unknown): PaidBy | undefined {
  let largest: PaidBy | undefined;
  for (const { amount_paid, payment, status } of parseObject(list, payments).data) {
    const paymentId = payment.payment_intent ?? payment.charge;
    if (status !== 'paid' || !paymentId) continue;
    if (!largest || (amount_paid ?? 0) > (largest.amount ?? 0)) largest = paidBy(paymentId, amount_paid);
  }
  return largest;
}

function paidOutOfBand({ id, amount_due }: Invoice, outOfBand: InvoicesPaidOutOfBand): PaidBy | Ignored {
  if (outOfBand === 'count') return paidBy(id, amount_due);
  return {
    ignored:
      'an invoice paid out of band: no money came through Stripe. Set the option invoicesPaidOutOfBand to count it',
    reason: 'paid_out_of_band',
  };
}

function paidBy(paymentId: string, amount: number | null | undefined): PaidBy {
  return amount == null ? { paymentId } : { paymentId, amount };
}
