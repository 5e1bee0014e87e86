/** Payments from elsewhere, guests, owners and administrators: what they do in a scenario, and when. */

import { type Readiness, ready } from './readiness.ts';
import { between, oneOf, type Random, whole } from './scheduler.ts';
import { chooseCalendar, type Drawn, type Plan, price } from './user-actions.ts';

export type MoreActions =
  /** A payment of another mode, or of a connected account. */
  | { do: 'pay elsewhere'; booking: string; payment: string; from: 'other mode' | 'connected account' }
  /** A payment that names another user than the booking's. */
  | { do: 'pay as another user'; booking: string; payment: string; user: string }
  /**
   * One payment for several bookings. `booking` is one of them: what was delivered is noted for each. `unusable`: it also
   * names one by an unusable id.
   */
  | {
      do: 'pay for several';
      bookings: string[];
      booking: string;
      payment: string;
      user?: string;
      unusable?: true;
    }
  /** A payment to a connected account, which is part of its id: it counts once the account is bound to the user. */
  | { do: 'pay to account'; booking: string; payment: string }
  | { do: 'bind' | 'unbind'; user: string; account: string }
  /** The money of an authorization is not taken. */
  | { do: 'cancel authorization'; booking: string; payment: string }
  /** A checkout session that was not paid. */
  | { do: 'expire session'; booking: string; payment: string }
  /** The PUT of before, unchanged. */
  | { do: 'repeat'; booking: string }
  | { do: 'invite'; booking: string; guests: string[] }
  | { do: 'guests respond' | 'owner invites' | 'move by hand'; booking: string }
  | { do: 'switch calendar'; user: string; to: 'off' | 'on' }
  | { do: 'share'; user: string; role: 'reader' | 'writer' | 'none' }
  | { do: 'delete calendar'; user: string };

type Kind = {
  needs: keyof Readiness;
  draw: (
    random: Random,
    at: number,
    booking: string,
    user: string,
    plan: Pick<Plan, 'users' | 'bookings'>,
  ) => Drawn[];
};

const guests = ['guest1@example.com', 'guest2@example.com', 'guest3@example.com'];
export const rejectedGuest = 'guest3@example.com';

const kinds: Kind[] = [
  {
    needs: 'payments',
    draw: (random, at, booking) => [
      {
        at,
        do: 'pay elsewhere',
        booking,
        payment: `pi_elsewhere_${booking}`,
        from: oneOf(random, ['other mode', 'connected account']),
      },
    ],
  },
  {
    needs: 'payments',
    draw: (_, at, booking, user, { users }) => {
      const other = users.find((one) => one !== user) ?? 'eve';
      return [{ at, do: 'pay as another user', booking, payment: `pi_other_${booking}`, user: other }];
    },
  },
  {
    // One payment that names each booking.
    needs: 'payments',
    draw: (random, at, booking) => [
      { at, do: 'pay', booking, payment: 'pi_both' },
      { at: Math.round(at + random() * 90_000), do: 'pay', booking: 'b1', payment: 'pi_both' },
    ],
  },
  {
    needs: 'packages',
    draw: (random, at, booking, user, { bookings }) => {
      const later = (): number => at + whole(random, -60_000, 90_000);
      const ids = bookings.map(({ id }) => id);
      const isOfUser = random() < 0.3;
      const isUnusable = random() < 0.2;
      // The second report of some payments names other bookings than the first.
      const isUnsteady = random() < 0.2;
      const payment = [
        'pi_several',
        booking,
        isOfUser && user,
        isUnusable && 'unusable',
        isUnsteady && 'unsteady',
      ]
        .filter((part) => part !== false)
        .join('_');
      const pay = (): Drawn => ({
        at,
        do: 'pay for several',
        booking,
        payment,
        bookings: isUnsteady ? ids.filter((id) => id === booking || random() < 0.5) : ids,
        ...(isOfUser ? { user } : {}),
        ...(isUnusable ? { unusable: true } : {}),
      });
      const amount = random() < 0.6 ? price : price / 3;
      const more: Drawn[] = [
        ...ids.map(
          (id): Drawn => ({
            at: later(),
            do: 'declare',
            booking: id,
            room: 1,
            hold: random() < 0.3,
            meet: false,
          }),
        ),
        { at: later(), do: 'refund charge', payment, amount },
        { at: later(), do: 'dispute', payment, state: oneOf(random, ['needs_response', 'won', 'lost']) },
        { ...pay(), at: later() },
        { at: later(), do: 'cancel', booking },
      ];
      return [pay(), ...more.filter(({ do: what }) => random() < (what === 'declare' ? 0.9 : 0.3))];
    },
  },
  {
    needs: 'connect',
    draw: (random, at, booking, user) => {
      const later = (): number => at + whole(random, -60_000, 90_000);
      const account = `acct_${user}`;
      const payment = `${account}:pi_connected_${booking}`;
      const pay = (when: number): Drawn => ({ at: when, do: 'pay to account', booking, payment });
      const amount = random() < 0.6 ? price : price / 3;
      const bind: Drawn = { at: later(), do: 'bind', user, account };
      const more: [chance: number, Drawn][] = [
        [0.4, pay(later())],
        [0.15, { at: later(), do: 'unbind', user, account }],
        [0.2, { at: later(), do: 'refund charge', payment, amount }],
        [
          0.2,
          { at: later(), do: 'dispute', payment, state: oneOf(random, ['needs_response', 'won', 'lost']) },
        ],
        // The same id at another account, which pays for nothing here.
        [0.2, { at: later(), do: 'refund charge', payment: `acct_eve:pi_connected_${booking}`, amount }],
      ];
      const isBound = random() < 0.75;
      // Stripe is asked to send it again once the account is bound.
      const again = isBound && random() < 0.4 ? [pay(bind.at + whole(random, 60_000, 600_000))] : [];
      return [
        pay(at),
        ...(isBound ? [bind] : []),
        ...again,
        ...more.filter(([chance]) => random() < chance).map(([, action]) => action),
      ];
    },
  },
  {
    needs: 'payments',
    draw: (random, at, booking) => {
      const payment = `pi_part_${booking}`;
      const refund: Drawn = {
        at: at + whole(random, 0, 60_000),
        do: 'refund charge',
        payment,
        amount: price,
      };
      const half: Drawn = { ...refund, do: 'refund', amount: price / 3, state: 'succeeded' };
      const more = [refund, half].filter(() => random() < 0.4);
      return [{ at, do: 'pay', booking, payment }, ...more];
    },
  },
  {
    needs: 'payments',
    draw: (_, at, booking) => [
      { at, do: 'dispute', payment: `pi_1_${booking}`, state: 'lost', amount: price / 3 },
    ],
  },
  {
    // Several sessions for one booking: some expire, and the slot is held again.
    needs: 'holds',
    draw: (random, at, booking) => {
      const expired = whole(random, 1, 3);
      const sessions = Array.from({ length: expired }, (_, number): Drawn => {
        const payment = `cs_open_${number}_${booking}`;
        return { at: Math.round(at + number * random() * 90_000), do: 'expire session', booking, payment };
      });
      const again: Drawn = {
        at: at + whole(random, 0, 300_000),
        do: 'declare',
        booking,
        room: whole(random, 1, 2),
        hold: true,
        meet: false,
      };
      return [...sessions, ...(random() < 0.7 ? [again] : [])];
    },
  },
  {
    needs: 'holds',
    draw: (_, at, booking) => [{ at, do: 'cancel authorization', booking, payment: `pi_open_${booking}` }],
  },
  {
    needs: 'repairs',
    draw: (random, at, booking) =>
      Array.from({ length: whole(random, 1, 2) }, (_, number) => ({
        at: at + number * whole(random, 0, 60_000),
        do: 'repeat' as const,
        booking,
      })),
  },
  {
    needs: 'guests',
    draw: (random, at, booking) => {
      const invited = guests.filter(() => random() < 0.5);
      const later = (): number => at + whole(random, 5_000, 400_000);
      const more: Drawn[] = [
        { at: later(), do: 'guests respond', booking },
        { at: later(), do: 'owner invites', booking },
        { at: later(), do: 'edit by hand', booking },
        { at: later(), do: 'rename', booking, room: whole(random, 1, 5) },
        { at: later(), do: 'invite', booking, guests: guests.filter(() => random() < 0.5) },
      ];
      return [{ at, do: 'invite', booking, guests: invited }, ...more.filter(() => random() < 0.6)];
    },
  },
  {
    needs: 'moves',
    draw: (random, at, booking) => {
      const change: Drawn = { at: at + whole(random, 0, 300_000), do: 'rename', booking, room: 3 };
      return [{ at, do: 'move by hand', booking }, ...(random() < 0.6 ? [change] : [])];
    },
  },
  {
    needs: 'rejections',
    draw: (random, at, _, user) => {
      const back: Drawn = { at: at + whole(random, 5_000, 900_000), do: 'switch calendar', user, to: 'on' };
      return [{ at, do: 'switch calendar', user, to: 'off' }, ...(random() < 0.7 ? [back] : [])];
    },
  },
  {
    needs: 'sharedCalendars',
    draw: (random, at, _, user) => {
      const taken: Drawn = { at, do: 'share', user, role: oneOf(random, ['reader', 'none']) };
      const chosen: Drawn = { at: at - 2000, do: 'choose calendar', user, calendar: 'shared' };
      const back: Drawn = { at: at + whole(random, 5_000, 900_000), do: 'share', user, role: 'writer' };
      return [chosen, taken, ...(random() < 0.7 ? [back] : [])];
    },
  },
  {
    needs: 'deletedCalendars',
    draw: (random, at, _, user) => {
      const chosen: Drawn = { at: at - 2000, do: 'choose calendar', user, calendar: 'second' };
      const next = chooseCalendar(random, at + whole(random, 5_000, 900_000), user);
      return [chosen, { at, do: 'delete calendar', user }, ...(random() < 0.7 ? [next] : [])];
    },
  },
];

/** More actions, and what else they need of a plan. */
export function drawMore(
  random: Random,
  plan: Omit<Plan, 'actions'>,
  moments: number[],
): { actions: Drawn[]; plan: Partial<Plan> } {
  const possible = kinds.filter(({ needs }) => ready[needs]);
  const count = possible.length === 0 || random() < 0.25 ? 0 : whole(random, 1, 4);
  const actions = Array.from({ length: count }, () => {
    const { id, user } = oneOf(random, plan.bookings);
    const at = Math.round(oneOf(random, moments) + between(random, 0, 120_000));
    return oneOf(random, possible).draw(random, at, id, user, plan);
  }).flat();
  return { actions, plan: { ...drawDays(random, plan), ...drawGoogle(random, plan) } };
}

function drawDays(random: Random, { bookings }: Pick<Plan, 'bookings'>): Partial<Plan> {
  if (!ready.days) return {};
  const zone = () => oneOf(random, ['Europe/Vienna', 'America/Los_Angeles', 'Pacific/Auckland']);
  const times = () => oneOf(random, ['instants', 'instants', 'instants', 'local', 'whole days'] as const);
  return {
    zones: { ada: zone(), ben: zone() },
    bookings: bookings.map((booking) => {
      const kind = times();
      return kind === 'instants' ? booking : { ...booking, times: kind };
    }),
  };
}

function drawGoogle(random: Random, { switches, users }: Pick<Plan, 'switches' | 'users'>): Partial<Plan> {
  const rejects = ready.optionalFields && random() < 0.3;
  const fields = rejects
    ? {
        conferenceTypes: random() < 0.5 ? [] : ['hangoutsMeet'],
        rejectedGuests: random() < 0.5 ? [rejectedGuest] : [],
        unknownTimeZones: random() < 0.5 ? ['America/New_York'] : [],
      }
    : {};
  const moved = ready.moves ? { movedEvent: oneOf(random, ['cancelled', 'not_found'] as const) } : {};
  const withheld = users.map((user) => [
    user,
    ['.calendarlist.readonly', '.freebusy'].filter(() => random() < 0.2),
  ]);
  return {
    switches: { ...switches, ...fields, ...moved },
    ...(ready.moves ? { withheld: Object.fromEntries(withheld) } : {}),
    ...(ready.repairs ? { repairs: random() < 0.5 } : {}),
  };
}
