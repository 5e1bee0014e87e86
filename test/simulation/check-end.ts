import { parseKeys } from '../../shared/crypto/keys.ts';
import { decryptTokens } from '../../shared/crypto/token-encryption.ts';
import { checkBooking } from './check-booking.ts';
import { leaks } from './leaks.ts';
import { checkPayments } from './payment-outcomes.ts';
import type { PlayedScenario } from './played-scenario.ts';
import { lastEventViolation } from './published.ts';
import { ready } from './readiness.ts';
import type { Watch } from './watch-world.ts';

/** What must hold when all is quiet. */

const lastEventCheck = 'the last event published agrees with the status';

export async function checkEnd(played: PlayedScenario, watch: Watch): Promise<void> {
  const { world, truth } = played;
  const { violations, checks } = watch;
  const count = (what: string): void => {
    checks[what] = (checks[what] ?? 0) + 1;
  };
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
  for (let freed = 0; freed < truth.freed; freed++) count('an ordinary action frees a stuck booking');
  violations.push(...truth.stuck);
  if (ready.paymentOutcomes) violations.push(...checkPayments(played, count));
  for (const event of world.published) {
    count('no secret in a bus event');
    violations.push(...leaks('a bus event', JSON.stringify(event)));
  }
  for (const { timeline, bookingId } of bookings.values())
    violations.push(...leaks(`the timeline of ${bookingId}`, JSON.stringify(timeline)));

  const keys = parseKeys('token-encryption', world.texts['token-encryption'] as string);
  for (const { connection, alive } of watch.broken) {
    count('no connection is marked broken without cause');
    const { refreshToken } = await decryptTokens(keys, connection.userId, connection.tokens);
    const scopeRefused = world.injected.some(({ fault }) => fault === '403 scope missing');
    if (alive.has(refreshToken) && !scopeRefused)
      violations.push(`the connection of ${connection.userId} was marked broken although its grant is alive`);
    const ends = truth.plan.actions.some(
      (action) => action.do === 'revoke at Google' || action.do === 'disconnect',
    );
    if (!ends && world.injected.length === 0)
      violations.push(`the connection of ${connection.userId} broke although nothing had gone wrong`);
  }
  const current = keys.current(Math.floor(world.now() / 1000));
  for (const connection of world.connections()) {
    count('every token can be decrypted with the current key');
    if (connection.keyId !== undefined && connection.keyId !== current)
      violations.push(`tokens of ${connection.userId} are still encrypted with ${connection.keyId}`);
    if (connection.status !== 'disconnected')
      await decryptTokens(keys, connection.userId, connection.tokens).catch(() =>
        violations.push(`the tokens of ${connection.userId} cannot be decrypted`),
      );
    if (connection.leaseUntil !== undefined && connection.leaseUntil * 1000 > world.now())
      violations.push(`the connection of ${connection.userId} is leased for ever`);
  }
  if (world.queue.size() > 0) violations.push(`${world.queue.size()} messages are left in the queue`);
}
