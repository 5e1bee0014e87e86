import { createHmac } from 'node:crypto';
import { cancelBooking, declareBooking, patchBooking } from '../../functions/bookings/change-booking.ts';
import { startConnection } from '../../functions/connect/start-connection.ts';
import { completeConnection } from '../../functions/oauth-callback/complete-connection.ts';
import { acceptWebhook } from '../../functions/payment-confirmed/accept-webhook.ts';
import type { PaymentProvider } from '../../functions/payment-confirmed/payment-provider.ts';
import { parseKeys } from '../../shared/crypto/keys.ts';
import { signUserToken } from '../../shared/crypto/user-token.ts';
import { AppError } from '../../shared/lib/app-error.ts';
import { audiences } from '../../shared/lib/names.ts';
import { changeOf } from './contents.ts';
import { bodyOf } from './expectations.ts';
import type { Ended } from './invocations.ts';
import type { PlayedScenario } from './played-scenario.ts';
import { signingSecretOf } from './rotations.ts';
import { between } from './scheduler.ts';
import { second, seconds, timeouts } from './timeouts.ts';
import type { UserAction } from './user-actions.ts';
import type { Deps } from './world.ts';

/** How providers, backends and users ask the service, until it answers. */

/** A provider delivers until its event is accepted, less and less often. */
export async function deliver(
  played: PlayedScenario,
  key: string,
  provider: PaymentProvider,
  body: string,
): Promise<void> {
  const { world } = played;
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
        acceptWebhook(deps, provider, {
          body: Buffer.from(body),
          headers: { 'stripe-signature': signature },
        }),
    );
    if (ended.is === 'done') return;
    world.trace(`deliver ${key} #${attempt}: ${describe(ended)}`);
    await world.pause((waits[attempt - 1] ?? 300) * second);
  }
}

const describe = (ended: Ended<unknown>): string =>
  ended.is === 'failed' ? `failed: ${(ended.error as Error).message}` : ended.is;

/** The backend asks one thing at a time of a booking. */
const turns = new WeakMap<PlayedScenario, Map<string, Promise<void>>>();
export function inTurn(played: PlayedScenario, booking: string, act: () => Promise<void>): Promise<void> {
  const ofScenario = turns.get(played) ?? new Map<string, Promise<void>>();
  turns.set(played, ofScenario);
  const turn = (ofScenario.get(booking) ?? Promise.resolve()).then(act);
  ofScenario.set(booking, turn);
  return turn;
}

export async function askBackend(
  played: PlayedScenario,
  key: string,
  action: Extract<UserAction, { do: 'declare' | 'move' | 'rename' | 'repeat' | 'invite' | 'cancel' }>,
): Promise<void> {
  const { plan, applied, times } = played.truth;
  const from = played.world.now();
  const { booking } = action;
  const userId = plan.bookings.find(({ id }) => id === booking)?.user as string;
  const target = { userId, bookingId: booking };
  const earlier = applied.get(booking) ?? [];
  // A PUT that was never done before cannot be repeated.
  if (action.do === 'repeat' && !earlier.some(({ do: what }) => what === 'declare')) return;
  const took = await untilDone(played, key, 'bookings', timeouts.api, (deps) => {
    if (action.do === 'cancel') return cancelBooking(deps, target);
    if (action.do === 'repeat') return declareBooking(deps, target, bodyOf(played.truth, booking));
    const body = changeOf(plan, action);
    return action.do === 'declare' ? declareBooking(deps, target, body) : patchBooking(deps, target, body);
  });
  if (!took) return;
  applied.set(booking, [...earlier, action]);
  times.set(action, { from, to: played.world.now() });
}

/** Asks until it is done, or refused for good. */
export async function untilDone(
  played: PlayedScenario,
  key: string,
  functionName: string,
  timeout: number,
  ask: (deps: Deps) => Promise<unknown>,
): Promise<boolean> {
  const { world } = played;
  for (let attempt = 1; ; attempt++) {
    const ended = await world.invoke(`${key} #${attempt}`, functionName, timeout * second, ask);
    world.trace(`${key} #${attempt}: ${describe(ended)}`);
    if (ended.is === 'done') return true;
    const { error } = ended as { error?: unknown };
    if (error instanceof AppError && error.status < 500 && !error.retryable) return false;
    await world.pause(Math.min(2 ** attempt, 120) * second);
  }
}

/** A user follows a link of LeadsCalendar, consents, and comes back; up to three times if it does not work. */
export async function connect(played: PlayedScenario, user: string, key: string): Promise<void> {
  const { world } = played;
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
      const { accounts, withheld } = played.truth.plan;
      const query = new URLSearchParams(
        world.google.consent(location, accounts[user] as string, withheld?.[user]),
      );
      const ended = await world.invoke(`callback ${name}`, 'callback', timeouts.callback * second, (deps) =>
        completeConnection(deps, { query, browser }),
      );
      world.trace(`callback ${name}: ${describe(ended)}`);
      if (ended.is === 'done') return;
    } else world.trace(`connect ${name}: ${describe(started)}`);
    await world.pause(5 * second);
  }
}
