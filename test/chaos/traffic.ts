/** Callers of the service: Stripe, LeadsCalendar's backend and users. All of them retry until they succeed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { connectUser, type ReachableStack } from '../../infra/cli/demo-user.ts';
import { bearerToken } from '../../infra/cli/links.ts';
import { checkoutCompleted, deliver, stripeSigningSecret } from '../../infra/cli/payment.ts';
import { readLocalSecret, readStackAddress } from '../../infra/local/state-files.ts';
import { payAtStripe } from '../../infra/local/stripe.ts';
import { routes, webhookRoute } from '../../shared/lib/names.ts';
import { charge, snapshot } from '../unit/stripe.ts';
import type { ChaosUser, PlannedBooking } from './plan.ts';

/** Number of answers by kind (`200`, `503`, `refused`, `cut off`, `error page`). */
export type Answers = Map<string, number>;

/** Progress of a group of callers. */
export type Errand = { planned: number; accepted: number; answers: Answers };

export type Traffic = {
  /** `lost`: events whose webhook never arrives. */
  stripe: Errand & { twice: number; lost: number };
  backend: Errand;
  users: Errand;
  /** Epoch milliseconds at which everything was accepted. */
  acceptedAt: number | undefined;
  /** Resolves when everything was accepted, or when the signal ends the retries. */
  ended: Promise<void>;
};

export type Callers = {
  /** Folder of the service's state, with its address and secrets. */
  stateDir: string;
  random: () => number;
  /** Ends all retries. */
  signal: AbortSignal;
};

/** Share of deliveries that Stripe repeats although the first was answered. */
const twice = 0.2;
/** Milliseconds before now at which Stripe's events happened: recovery leaves those of the last five minutes to the webhook. */
const pastMs = 600_000;
type Reached = ReachableStack & { stripeUrl: string };
/**
 * Concurrent callers. Each life of the service starts a function for each of them on one machine: with more, none
 * would be answered within seconds.
 */
const atATime = { stripe: 8, backend: 3, users: 3 };

/** Connects the users who are present before the first payment. */
export async function connectUsers(callers: Callers, users: ChaosUser[]): Promise<Errand> {
  const errand = newErrand(users.length);
  await run(callers, errand, users, atATime.users, connect);
  return errand;
}

/**
 * Sends payments, refunds, moves and cancellations concurrently, some twice. Late users connect when half of it is
 * accepted.
 */
export function startTraffic(
  callers: Callers,
  planned: PlannedBooking[],
  late: ChaosUser[],
  lostShare: number,
): Traffic {
  const { random, signal } = callers;
  const events = planned.flatMap((booking) => stripeEvents(booking, Date.now() - pastMs));
  const lost = new Set(events.filter(() => random() < lostShare));
  const again = events.filter((event) => random() < twice && !lost.has(event));
  const changed = planned.filter(({ fate }) => fate === 'moved' || fate === 'cancelled');
  const stripe = { ...newErrand(events.length + again.length), twice: again.length, lost: lost.size };
  const backend = newErrand(changed.length);
  const users = newErrand(late.length);
  const half = async () => {
    while (stripe.accepted < stripe.planned / 2 && !signal.aborted) await sleep(200);
  };
  const traffic: Traffic = {
    stripe,
    backend,
    users,
    acceptedAt: undefined,
    ended: Promise.all([
      run(callers, stripe, shuffled([...events, ...again], random), atATime.stripe, (stack, event) =>
        deliverEvent(stack, event, lost.has(event)),
      ),
      run(callers, backend, changed, atATime.backend, changeBooking),
      half().then(() => run(callers, users, late, atATime.users, connect)),
    ]).then(() => {
      if (!signal.aborted) traffic.acceptedAt = Date.now();
    }),
  };
  return traffic;
}

function newErrand(planned: number): Errand {
  return { planned, accepted: 0, answers: new Map() };
}

/** Retries each call until it is accepted, at this concurrency and until the run ends. */
async function run<T>(
  callers: Callers,
  errand: Errand,
  all: T[],
  width: number,
  call: (stack: Reached, one: T) => Promise<number>,
): Promise<void> {
  const left = [...all];
  const insist = async (one: T) => {
    while (!callers.signal.aborted) {
      const answer = await call(reach(callers), one).catch(kindOfFailure);
      errand.answers.set(String(answer), (errand.answers.get(String(answer)) ?? 0) + 1);
      if (typeof answer === 'number' && answer < 300) {
        errand.accepted += 1;
        return;
      }
      await sleep(300 + 1500 * callers.random());
    }
  };
  const work = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) await insist(next);
  };
  await Promise.all(Array.from({ length: width }, work));
}

/** The events that Stripe sends for a booking. */
function stripeEvents(booking: PlannedBooking, now: number): object[] {
  const { metadata, stripeId, fate } = booking;
  const paid = checkoutCompleted(metadata, now, stripeId);
  if (fate !== 'refunded') return [paid];
  const refunded = snapshot('charge.refunded', charge({ payment_intent: `pi_${stripeId}` }), {
    id: `evt_refund_${stripeId}`,
    created: Math.floor(now / 1000),
  });
  return [paid, refunded];
}

/** Stripe has each event; its webhook is signed again each time, as Stripe does, or lost. */
async function deliverEvent(
  { url, stripeUrl, secrets, secretNames }: Reached,
  event: object,
  isLost: boolean,
): Promise<number> {
  await payAtStripe(stripeUrl, event, undefined);
  if (isLost) return 200;
  const signingSecret = stripeSigningSecret(secrets.get(secretNames.webhookSigning) as string);
  const { status } = await deliver(
    event,
    { webhookUrl: `${url}${webhookRoute('stripe')}`, signingSecret },
    Date.now(),
  );
  return status;
}

/** As LeadsCalendar's backend does, which gets 404 until the payment has created the booking. */
async function changeBooking(
  { url, secrets, secretNames }: ReachableStack,
  { metadata, fate, movedTo }: PlannedBooking,
): Promise<number> {
  const keys = secrets.get(secretNames.keys['api-signing']) as string;
  const token = await bearerToken(keys, metadata.user_id, Date.now());
  const response = await fetch(`${url}${routes.booking.replace('{id}', metadata.booking_id)}`, {
    ...(fate === 'cancelled' ? { method: 'DELETE' } : { method: 'PATCH', body: JSON.stringify(movedTo) }),
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
  });
  await response.text();
  return response.status;
}

/** Follows a connect link, as a user's browser does. */
async function connect(stack: ReachableStack, { userId, account }: ChaosUser): Promise<number> {
  const { response } = await connectUser(stack, { userId, account: account.email, now: Date.now() });
  await response.text();
  return response.status;
}

/** The service as its operator and LeadsCalendar see it, in any of its processes. */
function reach({ stateDir }: Callers): Reached {
  const { url, stripeUrl, secretNames } = readStackAddress(stateDir);
  return { url, stripeUrl, secretNames, secrets: { get: (name) => readLocalSecret(stateDir, name) } };
}

/** No process was listening, or the connection ended before the answer: the request may have been applied. */
function kindOfFailure(error: unknown): string {
  const { code } = ((error as Error).cause ?? {}) as { code?: string };
  if (code === 'ECONNREFUSED') return 'refused';
  return error instanceof TypeError ? 'cut off' : 'error page';
}

function shuffled<T>(all: T[], random: () => number): T[] {
  return all
    .map((one) => ({ one, place: random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ one }) => one);
}
