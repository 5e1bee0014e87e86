import { type Keys, parseKeys } from '../../shared/crypto/keys.ts';
import { decryptTokens } from '../../shared/crypto/token-encryption.ts';
import { checkBooking } from './check-booking.ts';
import { leaks } from './leaks.ts';
import { checkPayments } from './payment-outcomes.ts';
import type { PlayedScenario } from './played-scenario.ts';
import { lastEventViolation } from './published.ts';
import { ready } from './readiness.ts';
import type { Watch } from './watch-world.ts';
import type { World } from './world.ts';

/** What must hold when all is quiet. */

const lastEventCheck = 'the last event published agrees with the status';

type Count = (what: string) => void;

export async function checkEnd(played: PlayedScenario, watch: Watch): Promise<void> {
  const { world, truth } = played;
  const { violations, checks } = watch;
  const count: Count = (what) => {
    checks[what] = (checks[what] ?? 0) + 1;
  };
  const keys = parseKeys('token-encryption', world.texts['token-encryption'] as string);
  violations.push(
    ...checkBookings(played, count),
    ...truth.stuck,
    ...(ready.paymentOutcomes ? checkPayments(played, count) : []),
    ...checkTexts(world, count),
    ...(await checkBroken(played, watch, { keys, count })),
    ...(await checkConnections(world, { keys, count })),
  );
  for (let freed = 0; freed < truth.freed; freed++) count('an ordinary action frees a stuck booking');
  if (world.queue.size() > 0) violations.push(`${world.queue.size()} messages are left in the queue`);
}

function checkBookings(played: PlayedScenario, count: Count): string[] {
  const { world, truth } = played;
  const violations: string[] = [];
  const bookings = new Map(world.bookings().map((booking) => [booking.bookingId, booking]));
  for (const { resource } of world.google.events()) {
    const id = resource.extendedProperties?.private?.leadscalendarBooking ?? '';
    count('no event of ours without a booking');
    if (!bookings.has(id)) violations.push(`an event exists for ${id}, which does not exist`);
  }
  for (const { id } of truth.plan.bookings) {
    count('the calendar shows what is desired');
    violations.push(...checkBooking(played, id, bookings.get(id)).map((what) => `${id}: ${what}`));
  }
  for (const booking of bookings.values()) {
    count(lastEventCheck);
    const violation = lastEventViolation(world.published, booking);
    if (violation) violations.push(`${lastEventCheck}: ${booking.bookingId}: ${violation}`);
  }
  return violations;
}

function checkTexts(world: World, count: Count): string[] {
  const events = world.published.flatMap((event) => {
    count('no secret in a bus event');
    return leaks('a bus event', JSON.stringify(event));
  });
  const timelines = world
    .bookings()
    .flatMap(({ timeline, bookingId }) => leaks(`the timeline of ${bookingId}`, JSON.stringify(timeline)));
  return [...events, ...timelines];
}

type Tools = { keys: Keys<'token-encryption'>; count: Count };

async function checkBroken(
  { world, truth }: PlayedScenario,
  { broken }: Watch,
  { keys, count }: Tools,
): Promise<string[]> {
  const violations: string[] = [];
  const isScopeRefused = world.injected.some(({ fault }) => fault === '403 scope missing');
  const isEnded = truth.plan.actions.some(
    (action) => action.do === 'revoke at Google' || action.do === 'disconnect',
  );
  for (const { connection, alive } of broken) {
    count('no connection is marked broken without cause');
    const { refreshToken } = await decryptTokens(keys, connection.userId, connection.tokens);
    if (alive.has(refreshToken) && !isScopeRefused)
      violations.push(`the connection of ${connection.userId} was marked broken although its grant is alive`);
    if (!isEnded && world.injected.length === 0)
      violations.push(`the connection of ${connection.userId} broke although nothing had gone wrong`);
  }
  return violations;
}

async function checkConnections(world: World, { keys, count }: Tools): Promise<string[]> {
  const violations: string[] = [];
  const current = keys.current(Math.floor(world.now() / 1000));
  for (const connection of world.connections()) {
    const { userId, keyId, leaseUntil } = connection;
    count('every token can be decrypted with the current key');
    if (keyId !== undefined && keyId !== current)
      violations.push(`tokens of ${userId} are still encrypted with ${keyId}`);
    if (connection.status !== 'disconnected')
      await decryptTokens(keys, userId, connection.tokens).catch(() =>
        violations.push(`the tokens of ${userId} cannot be decrypted`),
      );
    if (leaseUntil !== undefined && leaseUntil * 1000 > world.now())
      violations.push(`the connection of ${userId} is leased for ever`);
  }
  return violations;
}
