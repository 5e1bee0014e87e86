/** Stripe's events, as far as they are read. */

import { contentOf } from './contents.ts';
import { capturedOf, type Plan, price, type UserAction } from './user-actions.ts';
import { startsAt } from './world.ts';

type PaymentAction = Extract<UserAction, { payment: string }>;

export function stripeEvent(plan: Plan, action: PaymentAction): object {
  const [payment = '', account] = action.payment.split(':').reverse();
  const { type, object } = report(plan, { ...action, payment });
  const isFromElsewhere = action.do === 'pay elsewhere';
  return {
    id: `evt_${action.id}`,
    object: 'event',
    type,
    livemode: !(isFromElsewhere && action.from === 'other mode'),
    ...(isFromElsewhere && action.from === 'connected account' ? { account: 'acct_1B' } : {}),
    ...(account ? { account } : {}),
    created: Math.floor((startsAt + action.at) / 1000),
    data: { object },
  };
}

function report(plan: Plan, action: PaymentAction): { type: string; object: object } {
  const { payment } = action;
  const captured = capturedOf(payment);
  switch (action.do) {
    case 'pay':
    case 'pay elsewhere':
    case 'pay to account':
    case 'pay as another user': {
      const paid = {
        id: payment,
        amount: price,
        amount_received: captured,
        metadata: metadataOf(plan, action),
      };
      return { type: 'payment_intent.succeeded', object: paid };
    }
    case 'cancel authorization': {
      const canceled = { id: payment, amount: price, amount_received: 0, status: 'canceled' };
      return {
        type: 'payment_intent.canceled',
        object: { ...canceled, metadata: metadataOf(plan, action) },
      };
    }
    case 'pay for several': {
      const { bookings, user, unusable } = action;
      const booking_ids = [...bookings, ...(unusable ? ['not an id'] : [])].join(', ');
      const metadata = { booking_ids, ...(user === undefined ? {} : { user_id: user }) };
      return {
        type: 'payment_intent.succeeded',
        object: { id: payment, amount: price, amount_received: captured, metadata },
      };
    }
    case 'pay by session':
      return {
        type: 'checkout.session.completed',
        object: { ...sessionOf(plan, action), payment_status: 'paid' },
      };
    case 'fail':
      return {
        type: 'checkout.session.expired',
        object: { ...sessionOf(plan, action), payment_status: 'unpaid' },
      };
    case 'expire session':
      return {
        type: 'checkout.session.expired',
        object: { ...sessionOf(plan, action), payment_intent: null, payment_status: 'unpaid' },
      };
    case 'refund':
      return {
        type: 'refund.updated',
        object: {
          id: `re_${payment}`,
          payment_intent: payment,
          amount: Math.min(action.amount, captured),
          status: action.state,
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
          amount_refunded: Math.min(action.amount, captured),
        },
      };
    case 'dispute':
      return {
        type: action.state === 'needs_response' ? 'charge.dispute.created' : 'charge.dispute.closed',
        object: {
          id: action.amount === undefined ? `dp_${payment}` : `dp_part_${payment}`,
          payment_intent: payment,
          charge: `ch_${payment}`,
          status: action.state,
          ...(action.amount === undefined ? {} : { amount: action.amount }),
        },
      };
  }
}

type ReferencingAction = Extract<PaymentAction, { booking: string }>;

function sessionOf(plan: Plan, action: ReferencingAction): object {
  const { payment } = action;
  const metadata = metadataOf(plan, action);
  return { id: `cs_${payment}`, payment_intent: payment, amount_total: price, metadata };
}

function metadataOf(plan: Plan, action: ReferencingAction): object {
  const { summary, location, start, end, timeZone } = contentOf(plan, action.booking);
  const ownUser = plan.bookings.find(({ id }) => id === action.booking)?.user;
  const user_id = action.do === 'pay as another user' ? action.user : ownUser;
  const times = 'unusable' in action && action.unusable ? { start: 'Monday', end } : { start, end };
  const zone = timeZone === undefined ? {} : { time_zone: timeZone };
  return { booking_id: action.booking, user_id, summary, location, ...times, ...zone };
}
