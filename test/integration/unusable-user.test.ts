import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseBookingMessage } from '../../functions/booking-sync/read-message.ts';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { viewBooking } from '../../functions/bookings/view-booking.ts';
import { parseStandardEvent } from '../../functions/payment-confirmed/standard/events.ts';
import type { PaymentReported } from '../../shared/booking/queue.ts';
import { parseStripeEvent } from '../../shared/payments/stripe/events.ts';
import { queuedText } from '../fakes/queue.ts';
import { stripeSettings } from '../fixtures/stripe-settings.ts';
import { intent, session, snapshot } from '../unit/stripe.ts';
import { startWorld, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await startWorld();
  await world.connect('user-1');
});
afterEach(() => world.close());

const sync = (message: PaymentReported, repeated = false) => syncBooking(world.deps, message, { repeated });
const orphaned = () => world.bus.events.filter(({ type }) => type === 'payment.orphaned');
const codes = async (bookingId: string) =>
  (await world.booking(bookingId))?.problems.map(({ code, field }) => field ?? code);

/** A payment as a provider reports it. `userId` is omitted if undefined. */
type Report = { paymentId: string; bookingId?: string | undefined; userId?: string | undefined };
type Provider = {
  field: string;
  idOf: (paymentId: string) => string;
  confirmed: (report: Report) => Promise<PaymentReported>;
};

const times = () => {
  const at = (seconds: number) =>
    `${new Date((world.time.now + seconds) * 1000).toISOString().slice(0, 19)}Z`;
  return { summary: 'Meeting', start: at(86_400), end: at(90_000) };
};
const paymentOf = (translation: object): PaymentReported => {
  if (!('payment' in translation)) throw new Error(JSON.stringify(translation));
  // As the queue delivers it to sync.
  return parseBookingMessage(queuedText(translation.payment as object)) as PaymentReported;
};
const stripeReport = async (type: string, object: object) => {
  // As it is received: without the fields that are undefined.
  const event: unknown = JSON.parse(JSON.stringify(snapshot(type, object, { created: world.time.now })));
  return paymentOf(await parseStripeEvent(event, stripeSettings, async () => ({})));
};
const providers: Record<string, Provider> = {
  stripe: {
    field: 'user_id',
    idOf: (paymentId) => paymentId,
    confirmed: ({ paymentId, bookingId, userId }) => {
      const user = userId === undefined ? {} : { user_id: userId };
      const metadata = { booking_id: bookingId, ...user, ...times() };
      return stripeReport('payment_intent.succeeded', intent({ id: paymentId, metadata }));
    },
  },
  standard: {
    field: 'userId',
    idOf: (paymentId) => `standard:${paymentId}`,
    confirmed: async ({ paymentId, bookingId, userId }) => {
      const timestamp = new Date(world.time.now * 1000).toISOString();
      const data = { paymentId, bookingId, userId, amount: 9000, booking: times() };
      const body = Buffer.from(JSON.stringify({ type: 'payment.confirmed', timestamp, data }));
      return paymentOf(await parseStandardEvent(body, `msg_${paymentId}`));
    },
  },
};
const unusable = ['user-1 ', ' user-1', 'user 1!', '', ' ', 'ü', 'u'.repeat(129), 'user-1\n', 'user/1'];
const cases = Object.entries(providers).flatMap(([name, provider]) =>
  unusable.map((userId) => ({ name, provider, userId })),
);
const fullRefund = (paymentId: string): PaymentReported => ({
  ...{ type: 'payment', paymentId, eventId: 'evt_refund' },
  facts: { refunds: { re_1: { amount: 9000, state: 'done' } } },
});

describe.each(cases)('a payment of $name that names the unusable user $userId', ({ provider, userId }) => {
  const { confirmed, idOf, field } = provider;
  const own = () => confirmed({ paymentId: 'pi_a', bookingId: 'u1', userId: 'user-1' });
  const unknown = () => confirmed({ paymentId: 'pi_u', bookingId: 'u1', userId });
  const expectApart = async () => {
    expect(await world.booking('u1')).toMatchObject({ status: 'scheduled', userId: 'user-1' });
    expect(Object.keys((await world.booking('u1'))?.payments ?? {})).toEqual([idOf('pi_a')]);
    expect((await viewBooking(world.deps, 'user-1', 'u1')).problems).toEqual([]);
    expect(await world.booking(idOf('pi_u'))).toMatchObject({ status: 'failed' });
    expect(await world.booking(idOf('pi_u'))).not.toHaveProperty('userId');
    expect(await codes(idOf('pi_u'))).toContain(field);
    expect(world.bus.events.filter(({ type }) => type === 'booking.failed')).toMatchObject([
      { bookingId: idOf('pi_u'), paymentId: idOf('pi_u') },
    ]);
    await sync(fullRefund(idOf('pi_a')));
    expect(await world.booking('u1')).toMatchObject({ status: 'cancelled' });
    expect(world.events()).toEqual([]);
  };

  it('a payment with an unusable user is orphaned for a booking that its user has paid', async () => {
    await sync(await own());
    await sync(await unknown());
    await sync(await unknown(), true);
    expect(orphaned()).toMatchObject([
      { reason: 'user_mismatch', bookingId: 'u1', paymentId: idOf('pi_u'), amount: 9000 },
    ]);
    await expectApart();
  });

  it('a payment with an unusable user does not count for a booking paid later', async () => {
    await sync(await unknown());
    expect(await world.booking('u1')).toBeUndefined();
    await sync(await own());
    expect(orphaned()).toEqual([]);
    await sync(await unknown(), true);
    await expectApart();
  });

  it('a payment with an unusable user does not count for a declared booking', async () => {
    await world.declare('u1', { hold: true });
    await sync(await unknown());
    expect(await world.booking('u1')).toMatchObject({ status: 'declared', payments: {} });
    expect(await codes(idOf('pi_u'))).toEqual([field, 'user_mismatch']);
    expect(orphaned()).toMatchObject([{ reason: 'user_mismatch', bookingId: 'u1' }]);
  });
});

describe.each(Object.values(providers))('a payment with the user in $field', ({ confirmed, idOf, field }) => {
  it('a payment without a user counts for a declared booking', async () => {
    await world.declare('u1');
    await sync(await confirmed({ paymentId: 'pi_u', bookingId: 'u1' }));
    expect(await world.booking('u1')).toMatchObject({ status: 'scheduled', problems: [] });
    expect(orphaned()).toEqual([]);
  });

  it('a payment is detached from its booking when it names an unusable user later', async () => {
    await world.declare('u1');
    await sync(await confirmed({ paymentId: 'pi_u', bookingId: 'u1' }));
    await sync({ ...fullRefund(idOf('pi_u')), facts: { refundedTotal: 4000 } });
    await sync(await confirmed({ paymentId: 'pi_u', bookingId: 'u1', userId: 'user 1!' }));
    await sync(await confirmed({ paymentId: 'pi_u', bookingId: 'u1', userId: 'user 1!' }), true);
    expect(await world.booking('u1')).toMatchObject({ status: 'declared', payments: {} });
    expect(world.events()).toEqual([]);
    expect((await world.booking(idOf('pi_u')))?.payments[idOf('pi_u')]).toMatchObject({
      refundedTotal: 4000,
    });
    expect(await codes(idOf('pi_u'))).toContain(field);
  });

  it('publishes an orphaned payment whose id is the id of another booking', async () => {
    await world.declare(idOf('pi_u'));
    await sync(await confirmed({ paymentId: 'pi_u', bookingId: 'u1', userId: 'user 1!' }));
    expect(await world.booking(idOf('pi_u'))).toMatchObject({ status: 'declared', payments: {} });
    expect(orphaned()).toMatchObject([{ reason: 'user_mismatch', paymentId: idOf('pi_u') }]);
  });
});

describe.each(Object.values(providers))(
  'a booking with the id of a payment in $field',
  ({ confirmed, idOf }) => {
    const ids = [undefined, 'has space', idOf('pi_u')];
    const users = ['user-2', 'user 1!'];
    const named = [
      ...ids.flatMap((bookingId) => users.map((userId) => ({ bookingId, userId }))),
      { bookingId: 'has space' },
    ];

    it.each(named)(
      "a booking with a payment's id does not take the payment of another user: %j",
      async (given) => {
        await world.declare(idOf('pi_u'), { hold: true });
        const message = await confirmed({ paymentId: 'pi_u', ...given });
        await sync({ ...message, facts: { failedAt: new Date((world.time.now + 60) * 1000).toISOString() } });
        expect(await world.booking(idOf('pi_u'))).toMatchObject({ status: 'declared', payments: {} });
        expect(orphaned()).toEqual([]);
        for (const repeated of [false, true]) await sync(message, repeated);
        await sync({ ...fullRefund(idOf('pi_u')), facts: { refundedTotal: 4000 } });
        expect(await world.booking(idOf('pi_u'))).toMatchObject({ status: 'declared', payments: {} });
        expect(await world.booking(idOf('pi_u'))).not.toHaveProperty('orphaned');
        expect(world.events()).toEqual([]);
        expect(new Set(orphaned().map(({ id }) => id)).size).toBe(1);
        expect(orphaned()[0]).toMatchObject({ reason: 'user_mismatch', paymentId: idOf('pi_u') });
        const { pointer } = await world.deps.readForSync({ paymentId: idOf('pi_u') });
        expect(pointer).toMatchObject({ facts: { amount: 9000, refundedTotal: 4000 } });
      },
    );
  },
);

describe('a paid session that references a booking by client_reference_id', () => {
  const referencing = (metadata: object) =>
    stripeReport('checkout.session.completed', {
      ...session({ id: 'cs_u', payment_intent: 'pi_u', metadata, client_reference_id: 'u1' }),
    });

  it.each([{ user_id: 'user-2' }, { user_id: 'user 1!' }])(
    'a session does not count when its metadata names another or an unusable user: %j',
    async (metadata) => {
      await world.declare('u1');
      await sync(await referencing(metadata));
      expect(await world.booking('u1')).toMatchObject({ status: 'declared', payments: {} });
      expect(await world.booking('pi_u')).toMatchObject({ status: 'failed' });
      expect(orphaned()).toMatchObject([{ reason: 'user_mismatch', bookingId: 'u1', paymentId: 'pi_u' }]);
    },
  );

  it.each([{}, { user_id: 'user-1' }, { other: 'text' }])(
    'a session counts when its metadata names the same user or none: %j',
    async (metadata) => {
      await world.declare('u1');
      await sync(await referencing(metadata));
      expect(await world.booking('u1')).toMatchObject({ status: 'scheduled' });
    },
  );

  it('a session creates no booking when none with that id was declared', async () => {
    await sync(await referencing({ user_id: 'user 1!' }));
    expect(await world.booking('pi_u')).toBeUndefined();
    expect(orphaned()).toMatchObject([{ reason: 'booking_unknown', bookingId: 'u1', paymentId: 'pi_u' }]);
  });
});
