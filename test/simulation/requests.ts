import { createHmac } from 'node:crypto';
import { cancelBooking, declareBooking, patchBooking } from '../../functions/bookings/change-booking.ts';
import { startConnection } from '../../functions/connect/start-connection.ts';
import { completeConnection } from '../../functions/oauth-callback/complete-connection.ts';
import { acceptWebhook } from '../../functions/payment-confirmed/accept-webhook.ts';
import { stripe } from '../../functions/payment-confirmed/stripe/provider.ts';
import { AppError } from '../../shared/app-error.ts';
import { parseKeys } from '../../shared/keys.ts';
import { audiences } from '../../shared/names.ts';
import { signUserToken } from '../../shared/user-token.ts';
import { changeOf } from './contents.ts';
import type { Deed } from './deeds.ts';
import { bodyOf } from './expectations.ts';
import type { Ended } from './invocations.ts';
import type { Life } from './played-scenario.ts';
import { signingSecretOf } from './rotations.ts';
import { between } from './scheduler.ts';
import { second, seconds, timeouts } from './timeouts.ts';
import type { Deps } from './world.ts';

/** How providers, backends and users ask the service, until it answers. */

/** A provider delivers until it is told that its event has arrived, ever less often. */
export async function deliver(life: Life, key: string, body: string): Promise<void> {
  const { world } = life;
  const waits = [3, 20, 60, 180];
  for (let attempt = 1; ; attempt++) {
    const timestamp = seconds(world.now());
    const secret = signingSecretOf(world);
    const signature = `t=${timestamp},v1=${createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex')}`;
    const ended = await world.invoke(
      `deliver ${key} #${attempt}`,
      'webhook',
      timeouts.webhook * second,
      (deps) =>
        acceptWebhook(deps, stripe, {
          body: Buffer.from(body),
          headers: { 'stripe-signature': signature },
        }),
    );
    if (ended.is === 'done') return;
    world.tell(`deliver ${key} #${attempt}: ${describe(ended)}`);
    await world.pause((waits[attempt - 1] ?? 300) * second);
  }
}

const describe = (ended: Ended<unknown>): string =>
  ended.is === 'failed' ? `failed: ${(ended.error as Error).message}` : ended.is;

/** The backend asks one thing at a time of a booking. */
const turns = new WeakMap<Life, Map<string, Promise<void>>>();
export function inTurn(life: Life, booking: string, act: () => Promise<void>): Promise<void> {
  const ofLife = turns.get(life) ?? new Map<string, Promise<void>>();
  turns.set(life, ofLife);
  const turn = (ofLife.get(booking) ?? Promise.resolve()).then(act);
  ofLife.set(booking, turn);
  return turn;
}

export async function askBackend(
  life: Life,
  key: string,
  deed: Extract<Deed, { do: 'declare' | 'move' | 'rename' | 'repeat' | 'invite' | 'cancel' }>,
): Promise<void> {
  const { plan, applied, times } = life.truth;
  const from = life.world.now();
  const { booking } = deed;
  const userId = plan.bookings.find(({ id }) => id === booking)?.user as string;
  const target = { userId, bookingId: booking };
  const earlier = applied.get(booking) ?? [];
  // A PUT that was never done before cannot be repeated.
  if (deed.do === 'repeat' && !earlier.some(({ do: what }) => what === 'declare')) return;
  const took = await untilDone(life, key, 'bookings', timeouts.api, (deps) => {
    if (deed.do === 'cancel') return cancelBooking(deps, target);
    if (deed.do === 'repeat') return declareBooking(deps, target, bodyOf(life.truth, booking));
    const body = changeOf(plan, deed);
    return deed.do === 'declare' ? declareBooking(deps, target, body) : patchBooking(deps, target, body);
  });
  if (!took) return;
  applied.set(booking, [...earlier, deed]);
  times.set(deed, { from, to: life.world.now() });
}

/** Asks until it is done, or refused for good. */
export async function untilDone(
  life: Life,
  key: string,
  functionName: string,
  timeout: number,
  ask: (deps: Deps) => Promise<unknown>,
): Promise<boolean> {
  const { world } = life;
  for (let attempt = 1; ; attempt++) {
    const ended = await world.invoke(`${key} #${attempt}`, functionName, timeout * second, ask);
    world.tell(`${key} #${attempt}: ${describe(ended)}`);
    if (ended.is === 'done') return true;
    const { error } = ended as { error?: unknown };
    if (error instanceof AppError && error.status < 500 && !error.retryable) return false;
    await world.pause(Math.min(2 ** attempt, 120) * second);
  }
}

/** A user follows a link of LeadsCalendar, consents, and comes back; up to three times if it does not work. */
export async function connect(life: Life, user: string, key: string): Promise<void> {
  const { world } = life;
  for (let attempt = 1; attempt <= 3; attempt++) {
    const name = `${key} ${user} #${attempt}`;
    const random = world.chance(`user ${name}`);
    const keys = parseKeys('link-signing', world.texts['link-signing'] as string);
    const token = await signUserToken(keys, {
      userId: user,
      audience: audiences.connect,
      now: seconds(world.now()),
    });
    const started = await world.invoke(`connect ${name}`, 'connect', timeouts.connect * second, (deps) =>
      startConnection(deps, { token, retry: undefined, returnTo: undefined, browser: undefined }),
    );
    await world.pause(between(random, 1, 40) * second);
    if (started.is === 'done') {
      const { location, browser } = started.value;
      const { accounts, withheld } = life.truth.plan;
      const query = new URLSearchParams(
        world.google.consent(location, accounts[user] as string, withheld?.[user]),
      );
      const ended = await world.invoke(`callback ${name}`, 'callback', timeouts.callback * second, (deps) =>
        completeConnection(deps, { query, browser }),
      );
      world.tell(`callback ${name}: ${describe(ended)}`);
      if (ended.is === 'done') return;
    } else world.tell(`connect ${name}: ${describe(started)}`);
    await world.pause(5 * second);
  }
}
