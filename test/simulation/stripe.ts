/** Stripe's events, as far as they are read. */
import { contentOf } from './contents.ts';
import { capturedOf, type Deed, type Plan, price } from './deeds.ts';
import { startsAt } from './world.ts';

type StripeDeed = Extract<Deed, { payment: string }>;

export function stripeEvent(plan: Plan, deed: StripeDeed): object {
  const { type, object } = report(plan, deed);
  const isFromElsewhere = deed.do === 'pay elsewhere';
  return {
    id: `evt_${deed.id}`,
    object: 'event',
    type,
    livemode: !(isFromElsewhere && deed.from === 'other mode'),
    ...(isFromElsewhere && deed.from === 'connected account' ? { account: 'acct_1B' } : {}),
    created: Math.floor((startsAt + deed.at) / 1000),
    data: { object },
  };
}

function report(plan: Plan, deed: StripeDeed): { type: string; object: object } {
  const { payment } = deed;
  const captured = capturedOf(payment);
  switch (deed.do) {
    case 'pay':
    case 'pay elsewhere':
    case 'pay as another user': {
      const paid = {
        id: payment,
        amount: price,
        amount_received: captured,
        metadata: metadataOf(plan, deed),
      };
      return { type: 'payment_intent.succeeded', object: paid };
    }
    case 'cancel authorization': {
      const canceled = { id: payment, amount: price, amount_received: 0, status: 'canceled' };
      return {
        type: 'payment_intent.canceled',
        object: { ...canceled, metadata: metadataOf(plan, deed) },
      };
    }
    case 'pay by session':
      return {
        type: 'checkout.session.completed',
        object: { ...sessionOf(plan, deed), payment_status: 'paid' },
      };
    case 'fail':
      return {
        type: 'checkout.session.expired',
        object: { ...sessionOf(plan, deed), payment_status: 'unpaid' },
      };
    case 'expire session':
      return {
        type: 'checkout.session.expired',
        object: { ...sessionOf(plan, deed), payment_intent: null, payment_status: 'unpaid' },
      };
    case 'refund':
      return {
        type: 'refund.updated',
        object: {
          id: `re_${payment}`,
          payment_intent: payment,
          amount: Math.min(deed.amount, captured),
          status: deed.state,
        },
      };
    case 'refund charge':
      return {
        type: 'charge.refunded',
        object: {
          id: `ch_${payment}`,
          payment_intent: payment,
          amount: price,
          amount_captured: captured,
          amount_refunded: Math.min(deed.amount, captured),
        },
      };
    case 'dispute':
      return {
        type: deed.state === 'needs_response' ? 'charge.dispute.created' : 'charge.dispute.closed',
        object: {
          id: deed.amount === undefined ? `dp_${payment}` : `dp_part_${payment}`,
          payment_intent: payment,
          charge: `ch_${payment}`,
          status: deed.state,
          ...(deed.amount === undefined ? {} : { amount: deed.amount }),
        },
      };
  }
}

type NamingDeed = Extract<StripeDeed, { booking: string }>;

function sessionOf(plan: Plan, deed: NamingDeed): object {
  const { payment } = deed;
  const metadata = metadataOf(plan, deed);
  return { id: `cs_${payment}`, payment_intent: payment, amount_total: price, metadata };
}

function metadataOf(plan: Plan, deed: NamingDeed): object {
  const { summary, location, start, end, timeZone } = contentOf(plan, deed.booking);
  const ownUser = plan.bookings.find(({ id }) => id === deed.booking)?.user;
  const user_id = deed.do === 'pay as another user' ? deed.user : ownUser;
  const times = 'unusable' in deed && deed.unusable ? { start: 'Monday', end } : { start, end };
  const zone = timeZone === undefined ? {} : { time_zone: timeZone };
  return { booking_id: deed.booking, user_id, summary, location, ...times, ...zone };
}
