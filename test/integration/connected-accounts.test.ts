import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseBookingMessage } from '../../functions/booking-sync/read-message.ts';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { bindAccount, unbindAccount } from '../../functions/bookings/payment-accounts.ts';
import { paymentAccountStore } from '../../shared/booking/payment-accounts.ts';
import type { PaymentReported, SyncRequested } from '../../shared/booking/queue.ts';
import { parseStripeEvent } from '../../shared/payments/stripe/events.ts';
import { queuedText } from '../fakes/queue.ts';
import { stripeSettings } from '../fixtures/stripe-settings.ts';
import { charge, dispute, intent, refund, session, snapshot } from '../unit/stripe.ts';
import { indexShards, startWorld, type World } from './world.ts';

/** Payments to connected accounts: which account may pay for which booking. */

let world: World;
let accounts: ReturnType<typeof paymentAccountStore>;
beforeEach(async () => {
  world = await startWorld();
  accounts = paymentAccountStore(world.dynamo, world.tableNames.bookings, indexShards);
  await world.connect('user-1');
  await world.connect('user-2');
  await bind('user-1', 'acct_own');
  await bind('user-2', 'acct_other');
});
afterEach(() => world.close());

const accountDeps = () => ({ accounts, clock: () => world.time.now });
const bind = (userId: string, account: string) => bindAccount(accountDeps(), userId, account);

const iso = (seconds: number) => `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`;
/** Metadata of a payment that describes its booking. */
const described = (more: Record<string, string> = {}) => ({
  user_id: 'user-1',
  summary: 'Meeting',
  start: iso(world.time.now + 86_400),
  end: iso(world.time.now + 90_000),
  ...more,
});

async function reported(account: string | undefined, type: string, object: object): Promise<PaymentReported> {
  const event = snapshot(type, object, { created: world.time.now, ...(account ? { account } : {}) });
  const parsed = await parseStripeEvent(event, { ...stripeSettings, accounts: 'both' }, async () => ({}));
  if (!('payment' in parsed)) throw new Error(JSON.stringify(parsed));
  return parsed.payment;
}
const paid = (account: string | undefined, metadata: object, id = 'pi_1') =>
  reported(account, 'payment_intent.succeeded', intent({ id, metadata }));

/** Works through the queue until it is empty. */
async function work(...messages: (PaymentReported | SyncRequested)[]): Promise<void> {
  world.queue.messages.push(...messages);
  for (let message = world.queue.messages.shift(); message; message = world.queue.messages.shift())
    await syncBooking(
      world.deps,
      parseBookingMessage(queuedText(message)) as PaymentReported | SyncRequested,
    );
}
const statusOf = async (id: string) => (await world.booking(id))?.status ?? 'none';
const problemsOf = async (id: string) => (await world.booking(id))?.problems.map(({ code }) => code) ?? [];
const orphaned = () =>
  world.bus.events.flatMap((event) =>
    event.type === 'payment.orphaned' ? [[event.bookingId, event.paymentId, event.reason]] : [],
  );

/** What a payment may name, by the name of the case. */
const named = {
  'a declared booking': { booking_id: 'b1' },
  'a declared booking and its user': { booking_id: 'b1', user_id: 'user-1' },
  'a declared booking, described again': () => described({ booking_id: 'b1' }),
  'several declared bookings': { booking_ids: 'b1,b2' },
  'several declared bookings and their user': { booking_ids: 'b1,b2', user_id: 'user-1' },
  'a new booking': () => described({ booking_id: 'new-1' }),
  'a new booking without an id': () => described(),
} satisfies Record<string, object | (() => object)>;
type Named = keyof typeof named;
const metadataOf = (of: Named): object => {
  const it = named[of];
  return typeof it === 'function' ? it() : it;
};
/** Bookings that count where the account is bound. */
const countedBy = (of: Named, account: string): string[] => {
  if (of.startsWith('several')) return ['b1', 'b2'];
  if (of === 'a new booking') return ['new-1'];
  return of === 'a new booking without an id' ? [`${account}:pi_1`] : ['b1'];
};
const forms = Object.keys(named) as Named[];

describe('the account of the user', () => {
  beforeEach(async () => {
    for (const id of ['b1', 'b2']) await world.declare(id);
  });

  it.each(forms)('pays for %s', async (form) => {
    await work(await paid('acct_own', metadataOf(form)));
    const ids = countedBy(form, 'acct_own');
    expect(await Promise.all(ids.map(statusOf))).toEqual(ids.map(() => 'scheduled'));
    expect(world.events()).toHaveLength(ids.length);
    expect(orphaned()).toEqual([]);
  });

  it.each(forms)('refunds its payment for %s', async (form) => {
    await work(
      await paid('acct_own', metadataOf(form)),
      await reported('acct_own', 'charge.refunded', charge({ amount_refunded: 9000 })),
    );
    const ids = countedBy(form, 'acct_own');
    expect(await Promise.all(ids.map(statusOf))).toEqual(ids.map(() => 'cancelled'));
    expect(world.events()).toEqual([]);
  });
});

const strangers = ['acct_other', 'acct_unknown'];
const attacks = strangers.flatMap((account) => forms.map((form) => [account, form] as const));
const failures: [type: string, object: (metadata: object) => object][] = [
  ['checkout.session.expired', (metadata) => session({ metadata })],
  ['checkout.session.async_payment_failed', (metadata) => session({ metadata })],
  ['payment_intent.canceled', (metadata) => intent({ metadata })],
  ['charge.expired', (metadata) => charge({ metadata })],
];
const laterEvents: [type: string, object: () => object][] = [
  ['charge.refunded', () => charge({ amount_refunded: 9000, refunded: true })],
  ['refund.created', () => refund({ amount: 9000 })],
  ['refund.updated', () => refund({ amount: 9000 })],
  ['charge.dispute.created', () => dispute()],
  ['charge.dispute.closed', () => dispute({ status: 'lost' })],
];

describe('an account that is not bound to the user', () => {
  const kept = async () => Promise.all(['b1', 'b2'].map((id) => world.booking(id)));

  describe.each([
    ['before the user has paid', false],
    ['after the user has paid', true],
  ])('%s', (_, isPaid) => {
    beforeEach(async () => {
      for (const id of ['b1', 'b2']) await world.declare(id, { hold: true });
      const own = isPaid ? await paid('acct_own', { booking_ids: 'b1,b2' }, 'pi_own') : undefined;
      if (own) await work(own);
      world.bus.events.length = 0;
    });

    it.each(attacks)('%s does not pay for %s', async (account, form) => {
      const before = await kept();
      const events = world.events().length;
      await work(await paid(account, metadataOf(form)));
      expect(await kept()).toEqual(before);
      expect(world.events()).toHaveLength(events);
      const record = await world.booking(`${account}:pi_1`);
      expect(record).toMatchObject({ status: 'failed', payments: { [`${account}:pi_1`]: { amount: 9000 } } });
      expect(record).not.toHaveProperty('userId');
      expect(record).not.toHaveProperty('appointment');
      expect(record?.problems).toMatchObject([{ code: 'account_mismatch' }]);
      const expected = countedBy(form, account).map((id) => [id, `${account}:pi_1`, 'account_mismatch']);
      expect(orphaned()).toEqual(expected);
    });

    it.each(attacks)('%s changes nothing when its payment for %s comes twice', async (account, form) => {
      const before = await kept();
      const payment = await paid(account, metadataOf(form));
      await work(payment, payment);
      await syncBooking(world.deps, parseBookingMessage(queuedText(payment)) as PaymentReported, {
        repeated: true,
      });
      await work();
      expect(await kept()).toEqual(before);
      expect(await statusOf(`${account}:pi_1`)).toBe('failed');
      expect(await statusOf('new-1')).toBe('none');
    });

    it.each(failures)('does not end a hold with %s', async (type, object) => {
      const before = await kept();
      for (const account of strangers) {
        for (const form of forms) await work(await reported(account, type, object(metadataOf(form))));
      }
      expect(await kept()).toEqual(before);
    });

    it.each(laterEvents)(
      'does not cancel with %s of a payment id that the user has',
      async (type, object) => {
        const own = await paid('acct_own', { booking_id: 'b1' });
        await work(own);
        const before = await kept();
        for (const account of [...strangers, undefined]) await work(await reported(account, type, object()));
        expect(await kept()).toEqual(before);
        expect(before[0]?.status).toBe('scheduled');
      },
    );

    it.each(laterEvents)('has the record of its payment changed by %s', async (type, object) => {
      await work(await paid('acct_other', { booking_id: 'b1' }));
      await work(await reported('acct_other', type, object()));
      expect(await statusOf('acct_other:pi_1')).toBe('failed');
      const before = await world.booking('acct_other:pi_1');
      expect(Object.values(before?.payments ?? {})[0]).toSatisfy(
        (facts) => 'refunds' in facts || 'disputes' in facts || 'refundedTotal' in facts,
      );
    });
  });

  it('cannot take the id of a booking that is declared later', async () => {
    await work(await paid('acct_unknown', described({ booking_id: 'later' })));
    expect(await statusOf('later')).toBe('none');
    await world.declare('later');
    await work(await paid('acct_own', { booking_id: 'later' }, 'pi_2'));
    expect(await statusOf('later')).toBe('scheduled');
  });

  it('does not count through a dispute that is won after a full refund of the record', async () => {
    const form = 'a new booking without an id';
    await work(await reported('acct_unknown', 'charge.refunded', charge({ amount_refunded: 9000 })));
    await work(await paid('acct_unknown', metadataOf(form)), await paid('acct_unknown', metadataOf(form)));
    await work(await reported('acct_unknown', 'charge.dispute.closed', dispute({ status: 'won' })));
    expect(await world.booking('acct_unknown:pi_1')).not.toHaveProperty('appointment');
    expect(world.events()).toEqual([]);
  });
});

describe('the account that a booking names', () => {
  it.each(['a declared booking', 'a declared booking and its user', 'several declared bookings'] as const)(
    'pays for %s',
    async (form) => {
      for (const id of ['b1', 'b2']) await world.declare(id, { paymentAccount: 'acct_shared' });
      await work(await paid('acct_shared', metadataOf(form)));
      expect(await statusOf('b1')).toBe('scheduled');
    },
  );

  it('pays for no other booking of the user', async () => {
    await world.declare('b1', { paymentAccount: 'acct_shared' });
    await world.declare('b2');
    await work(await paid('acct_shared', { booking_ids: 'b1,b2' }));
    expect([await statusOf('b1'), await statusOf('b2')]).toEqual(['scheduled', 'declared']);
    expect(orphaned()).toEqual([['b2', 'acct_shared:pi_1', 'account_mismatch']]);
  });
});

describe('the own account of the platform', () => {
  it('pays for every booking, as without Connect', async () => {
    await world.declare('b1', { paymentAccount: 'acct_shared' });
    await work(await paid(undefined, { booking_id: 'b1' }));
    expect(await statusOf('b1')).toBe('scheduled');
  });
});

describe('an account that is bound after its payment', () => {
  it.each(forms.filter((form) => !form.startsWith('several')))(
    'pays for %s when the event comes again, and its record is closed',
    async (form) => {
      for (const id of ['b1', 'b2']) await world.declare(id);
      const payment = await paid('acct_late', metadataOf(form));
      await work(payment);
      await bind('user-1', 'acct_late');
      await work(payment);
      const [id = ''] = countedBy(form, 'acct_late');
      expect(await statusOf(id)).toBe('scheduled');
      expect(world.events()).toHaveLength(1);
      expect(await problemsOf(id)).toEqual([]);
      if (id !== 'acct_late:pi_1') expect(await statusOf('acct_late:pi_1')).toBe('cancelled');
      // Once: the record itself says nothing more.
      expect(orphaned()).toHaveLength(1);
      await work(await reported('acct_late', 'charge.refunded', charge({ amount_refunded: 9000 })));
      expect(await statusOf(id)).toBe('cancelled');
    },
  );

  it.each([
    ['a crash after the booking was saved', 'savePointer'],
    ['a crash before the record was closed', 'save'],
  ] as const)('pays once after %s', async (_, write) => {
    await world.declare('b1');
    const payment = await paid('acct_late', { booking_id: 'b1' });
    await work(payment);
    await bind('user-1', 'acct_late');
    let writes = 0;
    const bookings = {
      ...world.deps.bookings,
      [write]: async (...given: unknown[]) => {
        writes++;
        if (write === 'savePointer' || writes === 2) throw new Error('The worker has crashed.');
        return (world.deps.bookings[write] as (...all: unknown[]) => Promise<boolean>)(...given);
      },
    };
    const message = parseBookingMessage(queuedText(payment)) as PaymentReported;
    await expect(syncBooking({ ...world.deps, bookings }, message)).rejects.toThrow('crashed');
    await syncBooking(world.deps, message, { repeated: true });
    await work();
    expect(await statusOf('b1')).toBe('scheduled');
    expect(await statusOf('acct_late:pi_1')).toBe('cancelled');
    expect(world.events()).toHaveLength(1);
    expect(orphaned()).toHaveLength(1);
  });

  it('counts with the refunds that came meanwhile', async () => {
    await world.declare('b1');
    const payment = await paid('acct_late', { booking_id: 'b1' });
    await work(payment);
    await work(await reported('acct_late', 'charge.refunded', charge({ amount_refunded: 9000 })));
    await bind('user-1', 'acct_late');
    await work(payment);
    expect(await statusOf('b1')).toBe('cancelled');
    expect(world.events()).toEqual([]);
  });
});

describe('an account that is unbound after its payment', () => {
  it('leaves what has counted, also when the event comes again', async () => {
    await world.declare('b1');
    const payment = await paid('acct_own', { booking_id: 'b1' });
    await work(payment);
    await unbindAccount(accountDeps(), 'user-1', 'acct_own');
    await work(payment);
    expect(await statusOf('b1')).toBe('scheduled');
    expect(await statusOf('acct_own:pi_1')).toBe('none');
    await work(await reported('acct_own', 'charge.refunded', charge({ amount_refunded: 9000 })));
    expect(await statusOf('b1')).toBe('cancelled');
  });

  it('does not pay any more', async () => {
    await world.declare('b1');
    await unbindAccount(accountDeps(), 'user-1', 'acct_own');
    await work(await paid('acct_own', { booking_id: 'b1' }));
    expect(await statusOf('b1')).toBe('declared');
  });
});

it('one account pays for bookings of several users, and several accounts for those of one', async () => {
  await bind('user-2', 'acct_own');
  await bind('user-1', 'acct_second');
  await work(await paid('acct_own', described({ booking_id: 'n1' }), 'pi_1'));
  await work(await paid('acct_own', described({ booking_id: 'n2', user_id: 'user-2' }), 'pi_2'));
  await work(await paid('acct_second', described({ booking_id: 'n3' }), 'pi_3'));
  expect(await Promise.all(['n1', 'n2', 'n3'].map(statusOf))).toEqual([
    'scheduled',
    'scheduled',
    'scheduled',
  ]);
});

it('a user has 100 accounts at most, also after binding several at the same moment', async () => {
  const accountIds = Array.from({ length: 99 }, (_, index) => `acct_${index}`);
  const stored = await accounts.get('user-3');
  const boundAt = iso(world.time.now);
  await accounts.save({ ...stored, accounts: Object.fromEntries(accountIds.map((id) => [id, boundAt])) });
  const bound = await Promise.allSettled(['acct_a', 'acct_b', 'acct_c'].map((id) => bind('user-3', id)));
  expect(bound.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  expect(Object.keys((await accounts.get('user-3')).accounts)).toHaveLength(100);
  await expect(bind('user-3', 'acct_d')).rejects.toMatchObject({
    code: 'too_many_payment_accounts',
    status: 409,
  });
  expect(await bind('user-3', 'acct_1')).toMatchObject({ isNew: false });
});
