/** What users, providers and operators do in a scenario, and when: drawn from the seed. */
import { drawMore, type MoreActions } from './more-actions.ts';
import { ready } from './readiness.ts';
import { between, oneOf, type Random, whole } from './scheduler.ts';

/** `id` identifies an action in every replay, even if others are left out. */
export type UserAction = { id: number } & Drawn;
export type Drawn = { at: number } & (
  | MoreActions
  | { do: 'pay' | 'pay by session' | 'fail'; booking: string; payment: string; unusable?: true }
  | { do: 'refund'; payment: string; amount: number; state: 'pending' | 'succeeded' | 'failed' }
  | { do: 'refund charge'; payment: string; amount: number }
  | { do: 'dispute'; payment: string; state: 'needs_response' | 'won' | 'lost'; amount?: number }
  | { do: 'declare'; booking: string; room: number; hold: boolean; meet: boolean }
  | { do: 'move' | 'rename'; booking: string; room: number }
  | { do: 'cancel'; booking: string }
  | { do: 'connect' | 'disconnect' | 'revoke at Google'; user: string }
  | { do: 'choose calendar'; user: string; calendar: 'primary' | 'second' | 'shared' }
  | { do: 'delete by hand' | 'edit by hand'; booking: string }
  | { do: 'rotate token keys' | 'rotate signing secret' | 'rotate client secret' }
  | { do: 'redrive' }
  | { do: 'outage'; of: 'Google' | 'rate limit' | 'tables' | 'queue' | 'bus'; seconds: number }
);

/** What a scenario is about. Instants in milliseconds from its start, amounts in cents. */
export type Plan = {
  users: string[];
  /** Google accounts by user: two users may share one. */
  accounts: Record<string, string>;
  bookings: { id: string; user: string; startsIn: number; times?: 'whole days' | 'local' }[];
  /** Time zones of the accounts' calendars; Vienna where absent. */
  zones?: Record<string, string>;
  /** Optional scopes that users do not grant, by user. */
  withheld?: Record<string, string[]>;
  /** Whether users do what ends a stuck booking: connect, choose a calendar, repeat the PUT. */
  repairs?: boolean;
  actions: UserAction[];
  conflictPolicy: 'create' | 'flag' | 'hold';
  switches: {
    rotateRefreshToken: boolean;
    accessTokenSeconds: number;
    reviveCancelled: 'allowed' | 'forbidden';
    conference: 'success' | 'pending' | 'failure';
    /** Whether the queue hands messages out again while they are still worked on. */
    earlyRedelivery: boolean;
    maxReceived: number;
    conferenceTypes?: string[];
    rejectedGuests?: string[];
    unknownTimeZones?: string[];
    movedEvent?: 'cancelled' | 'not_found';
  };
  /** Whether users whose connection is broken connect again in the end. */
  reconnects: boolean;
};

export const price = 9000;
/** What is captured of a payment: of those marked so, a part. */
export const capturedOf = (payment: string): number => (payment.startsWith('pi_part') ? price / 3 : price);
const minute = 60_000;

export function drawPlan(random: Random): Plan {
  const users = ['ada', 'ben'].slice(0, whole(random, 1, 2));
  const bookings = ['b1', 'b2', 'b3'].slice(0, whole(random, 1, 3)).map((id) => ({
    id,
    user: oneOf(random, users),
    startsIn: Math.round(
      oneOf(random, [25, 40, 300, 60 * 30, 60 * 24 * 12]) * minute * between(random, 0.8, 1.2),
    ),
  }));
  const actions: Drawn[] = users
    .filter(() => random() < 0.9)
    .map((user) => ({ at: Math.round(random() * 2000), do: 'connect', user }));
  for (const { user } of [...actions] as { user: string }[])
    if (random() < 0.3) actions.push(chooseCalendar(random, between(random, 2500, 20_000), user));
  const count = whole(random, 3, 16);
  // All at once or one after the other, while users are still connecting or when they have.
  const span = oneOf(random, [1000, 10 * minute, 20 * minute]);
  const moments = Array.from({ length: whole(random, 1, 6) }, () => random() * span);
  const spread = oneOf(random, [20, 1500, minute]);
  const from = oneOf(random, [2000, minute]);
  for (let number = 0; number < count; number++) {
    const at = Math.round(from + oneOf(random, moments) + random() * spread);
    const ids = bookings.map(({ id }) => id);
    const action = drawAction(random, at, users, ids);
    actions.push(action);
    // A user who connects again may change the settings while Google still asks in another window.
    if (action.do === 'connect' && random() < 0.4)
      actions.push(chooseCalendar(random, Math.round(at + random() * 45_000), action.user));
    // A user who has disconnected to start again connects soon.
    if (action.do === 'disconnect' && random() < 0.6)
      actions.push({ at: Math.round(at + random() * 90_000), do: 'connect', user: action.user });
  }
  const accounts = { ada: 'ada', ben: random() < 0.15 ? 'ada' : 'ben' };
  const plan: Omit<Plan, 'actions'> = {
    users,
    accounts,
    bookings,
    conflictPolicy: oneOf(random, ['create', 'create', 'flag', 'hold']),
    switches: {
      rotateRefreshToken: random() < 0.15,
      accessTokenSeconds: oneOf(random, [3599, 3599, 300]),
      reviveCancelled: oneOf(random, ['allowed', 'forbidden']),
      conference: oneOf(random, ['success', 'success', 'pending', 'failure']),
      earlyRedelivery: random() < 0.2,
      maxReceived: oneOf(random, [5, 2]),
    },
    reconnects: random() < 0.8,
  };
  const more = drawMore(
    random,
    plan,
    moments.map((moment) => from + moment),
  );
  const inOrder = [...actions, ...more.actions].sort((one, other) => one.at - other.at);
  return { ...plan, ...more.plan, actions: inOrder.map((action, id) => ({ id, ...action })) };
}

function drawAction(random: Random, at: number, users: string[], bookings: string[]): Drawn {
  const booking = oneOf(random, bookings);
  const user = oneOf(random, users);
  const payment = `pi_${random() < 0.85 ? 1 : 2}_${booking}`;
  const room = whole(random, 1, 5);
  const amount = random() < 0.7 ? price : price / 3;
  const draw = random() * 100;
  const kinds: [below: number, draw: () => Drawn][] = [
    [28, () => ({ at, do: oneOf(random, ['pay', 'pay', 'pay by session']), booking, payment })],
    [30, () => ({ at, do: 'pay', booking, payment, unusable: true })],
    [32, () => ({ at, do: 'fail', booking, payment })],
    [38, () => ({ at, do: 'refund', payment, amount, state: oneOf(random, refundStates) })],
    [42, () => ({ at, do: 'refund charge', payment, amount })],
    [47, () => ({ at, do: 'dispute', payment, state: oneOf(random, ['needs_response', 'won', 'lost']) })],
    [54, () => ({ at, do: 'declare', booking, room, hold: random() < 0.4, meet: random() < 0.3 })],
    [64, () => ({ at, do: oneOf(random, ['move', 'rename']), booking, room })],
    [69, () => ({ at, do: 'cancel', booking })],
    [75, () => ({ at, do: 'connect', user })],
    [78, () => ({ at, do: 'disconnect', user })],
    [81, () => ({ at, do: 'revoke at Google', user })],
    [84, () => chooseCalendar(random, at, user)],
    [87, () => ({ at, do: oneOf(random, ['delete by hand', 'edit by hand']), booking })],
    [93, () => ({ at, do: oneOf(random, rotations) })],
    [95.5, () => ({ at, do: 'redrive' })],
    [100, () => drawOutage(random, at)],
  ];
  const [, drawKind] = kinds.find(([below]) => draw < below) as (typeof kinds)[number];
  return drawKind();
}

const refundStates = ['pending', 'succeeded', 'succeeded', 'failed'] as const;
const rotations = ['rotate token keys', 'rotate signing secret', 'rotate client secret'] as const;

function drawOutage(random: Random, at: number): Drawn {
  const of = oneOf(random, [
    ready.rejections ? 'rate limit' : 'Google',
    'Google',
    'tables',
    'queue',
    'bus',
  ] as const);
  return { at, do: 'outage', of, seconds: whole(random, 5, 900) };
}

export function chooseCalendar(random: Random, at: number, user: string): Drawn {
  return { at, do: 'choose calendar', user, calendar: oneOf(random, ['primary', 'second']) };
}

/** An action in words. */
export function describeAction({ id: _id, at: _at, do: what, ...about }: UserAction): string {
  const details = Object.entries(about).map(([name, value]) => `${name} ${value}`);
  return [`* ${what}`, ...details].join(', ');
}
