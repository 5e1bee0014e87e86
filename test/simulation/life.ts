import { createHmac } from 'node:crypto';
import { handBackDueBookings } from '../../functions/booking-reconcile/hand-back-due.ts';
import { processBatch } from '../../functions/booking-sync/process-batch.ts';
import { releaseWaiting } from '../../functions/booking-sync/release-waiting.ts';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { verifiedMessages } from '../../functions/booking-sync/verified-message.ts';
import { cancelBooking, declareBooking, patchBooking } from '../../functions/bookings/change-booking.ts';
import { startConnection } from '../../functions/connect/start-connection.ts';
import { changeConnection, disconnect } from '../../functions/connections/manage-connection.ts';
import { completeConnection } from '../../functions/oauth-callback/complete-connection.ts';
import { acceptWebhook } from '../../functions/payment-confirmed/accept-webhook.ts';
import { stripe } from '../../functions/payment-confirmed/stripe/provider.ts';
import { carryOverTokens } from '../../functions/token-refresh/carry-over.ts';
import { refreshDueConnections } from '../../functions/token-refresh/refresh-due.ts';
import { rotate } from '../../infra/keys-rotation.ts';
import { AppError } from '../../shared/app-error.ts';
import { parseKeys } from '../../shared/keys.ts';
import { audiences, type KeyPurpose, keySecrets } from '../../shared/names.ts';
import { signUserToken } from '../../shared/user-token.ts';
import {
  addSharedCalendar,
  calendarNamed,
  changeEvent,
  clearObstacles,
  deleteSecondCalendar,
  share,
  switchCalendar,
} from './by-hand.ts';
import { changeOf } from './contents.ts';
import { type Deed, type Plan, tell } from './deeds.ts';
import { bodyOf } from './expectations.ts';
import { freeStuckBookings } from './repairs.ts';
import { between, type Random, whole } from './scheduler.ts';
import { nextRunAt } from './stored-booking.ts';
import { stripeEvent } from './stripe.ts';
import { createWorld, type Deps, type Ended, startsAt, type World, type WorldOptions } from './world.ts';

/** Lives through a plan: everybody does what they do, the service does its work, and in the end all is quiet. */

const second = 1000;
const minute = 60 * second;
const seconds = (milliseconds: number): number => Math.floor(milliseconds / 1000);
/** Milliseconds, as the template has them. */
const timeouts = {
  webhook: 15,
  api: 15,
  connect: 15,
  callback: 29,
  connections: 29,
  sync: 30,
  reconcile: 55,
  sweep: 300,
};
/** How many workers take messages from the queue side by side. */
const maxWorkers = 4;

/** What was asked of the service and what it said to it: what must come true is judged from this alone. */
export type Truth = {
  plan: Plan;
  /** What a booking's backend asked for and was told to be done, in this order. */
  applied: Map<string, Deed[]>;
  /** Payments of which everything was delivered. */
  delivered: Deed[];
  /** Bookings whose event its owner has deleted by hand. */
  deletedByHand: Set<string>;
  /** Bookings whose event its owner has moved to another calendar. */
  movedByHand: Set<string>;
  deletedCalendars: Set<string>;
  /** When the webhook had accepted a payment's event, and when the backend's request was done: milliseconds. */
  times: Map<Deed, { from: number; to: number }>;
  /** What was wrong with bookings after an ordinary action that should have freed them, and how many were looked at. */
  stuck: string[];
  freed: number;
  /** Bookings whose PUT was repeated in the end. */
  renewed: Set<string>;
  /** When faults stopped: epoch seconds. */
  calmAt: number;
};

export type Life = { world: World; truth: Truth };

export async function live(
  plan: Plan,
  options: Pick<WorldOptions, 'seed' | 'profile' | 'without'>,
  watch: (world: World) => void,
): Promise<Life> {
  const { conflictPolicy } = plan;
  const accounts = [...new Set([...Object.values(plan.accounts), 'eve'])].map((sub) => ({
    sub,
    email: `${sub}@example.com`,
    name: sub,
    timeZone: plan.zones?.[sub] ?? 'Europe/Vienna',
  }));
  const world = createWorld({ ...options, conflictPolicy, accounts });
  Object.assign(world.google.state.switches, plan.switches);
  world.maxReceived = plan.switches.maxReceived;
  addSharedCalendar(world, Object.values(plan.accounts));
  const truth: Truth = {
    plan,
    applied: new Map(),
    delivered: [],
    deletedByHand: new Set(),
    movedByHand: new Set(),
    deletedCalendars: new Set(),
    times: new Map(),
    stuck: [],
    freed: 0,
    renewed: new Set(),
    calmAt: Number.POSITIVE_INFINITY,
  };
  const life: Life = { world, truth };
  watch(world);

  const poller = pollQueue(life);
  const clock = everySoOften(life);
  const done = plan.deeds.map((deed) => carryOut(life, deed));
  const last = plan.deeds.at(-1)?.at ?? 0;
  await world.scheduler.run(startsAt + last + 3 * minute);

  world.calmDown();
  clock.stop();
  truth.calmAt = seconds(world.now());
  world.tell('faults stop');
  let everybodyIsDone = false;
  void Promise.all(done).then(() => {
    everybodyIsDone = true;
  });
  await world.scheduler.run(Number.POSITIVE_INFINITY);
  if (!everybodyIsDone) throw new Error('Somebody still waits for an answer although nothing is under way.');
  clearObstacles(world, Object.values(plan.accounts));
  if (plan.mends) await mendConnections(life);
  if (plan.repairs) await freeStuckBookings(life, { rest: (until) => rest(life, until), connect, untilDone });
  await comeToRest(life);
  poller.stop();
  return life;
}

/** Workers take messages whenever there are some. */
function pollQueue(life: Life): { stop(): void } {
  const { world, truth } = life;
  const { queue, scheduler } = world;
  let workers = 0;
  let wakesAt = Number.POSITIVE_INFINITY;
  let stopped = false;

  const wake = (): void => {
    const next = queue.nextAt();
    if (stopped || next === undefined || workers >= maxWorkers) return;
    const at = Math.max(next, world.now() + 10);
    if (wakesAt > world.now() && wakesAt <= at) return;
    wakesAt = at;
    scheduler.at(at - world.now(), poll);
  };

  const poll = (): void => {
    if (stopped || workers >= maxWorkers) return;
    const random = world.chance(`poll ${Math.round(world.now())}`);
    const early = truth.plan.switches.earlyRedelivery && !world.isCalm() && random() < 0.2;
    const messages = queue.receive(whole(random, 1, 10), early ? between(random, 500, 20_000) : undefined);
    if (messages.length > 0) void work(messages);
    wake();
  };

  const work = async (messages: ReturnType<typeof queue.receive>): Promise<void> => {
    workers += 1;
    const name = `sync ${messages.map(({ messageId, received }) => `${messageId}#${received}`).join(' ')}`;
    const bookings = messages.map(({ body }) => bookingOf(body));
    for (const [at, { received }] of messages.entries())
      if (received > 1 && bookings[at] !== undefined) world.doubts.received(bookings[at]);
    const records = messages.map(({ received, ...record }) => ({ ...record, repeated: received > 1 }));
    const ended = await world.invoke(name, 'booking-sync', timeouts.sync * second, (deps) =>
      processBatch(records, verifiedMessages(deps), (message, delivery) =>
        message.type === 'connection.activated'
          ? releaseWaiting(deps, message)
          : syncBooking(deps, message, delivery),
      ),
    );
    workers -= 1;
    if (ended.is === 'done')
      for (const booking of bookings) if (booking !== undefined) world.doubts.concluded(booking);
    world.tell(`${name}: ${ended.is}`);
    // Whoever acknowledges may be cut off as well: then the messages come again although all was done.
    const acknowledges = world.isCalm() || world.chance(`acknowledge ${name}`)() > 0.03;
    if (ended.is === 'done' && acknowledges) {
      queue.remove(messages.flatMap(({ messageId }) => (ended.value.includes(messageId) ? [] : messageId)));
    }
    wake();
  };

  queue.onSend = wake;
  return {
    stop() {
      stopped = true;
    },
  };
}

/** The booking that a message is about, as far as it says so. */
function bookingOf(body: string): string | undefined {
  const { bookingId, booking } = JSON.parse(body) as { bookingId?: string; booking?: { bookingId?: string } };
  return bookingId ?? booking?.bookingId;
}

/** The schedules: reconcile each minute, the refresh sweep every five. */
function everySoOften({ world }: Life): { stop(): void } {
  let stopped = false;
  const repeat = (every: number, run: () => Promise<unknown>): void => {
    world.scheduler.at(every, () => {
      if (stopped) return;
      void run();
      repeat(every, run);
    });
  };
  repeat(minute, () => reconcile(world));
  repeat(5 * minute, () => sweep(world));
  return {
    stop() {
      stopped = true;
    },
  };
}

const reconcile = (world: World): Promise<Ended<unknown>> =>
  world.invoke(
    `reconcile at ${seconds(world.now() - startsAt)} s`,
    'reconcile',
    timeouts.reconcile * second,
    handBackDueBookings,
  );

const sweep = (world: World): Promise<Ended<unknown>> =>
  world.invoke(
    `sweep at ${seconds(world.now() - startsAt)} s`,
    'sweep',
    timeouts.sweep * second,
    async (deps) => {
      await refreshDueConnections(deps);
      await carryOverTokens(deps);
    },
  );

/** Time passes until nothing is due any more, or nothing before `until` (epoch milliseconds). */
async function rest({ world }: Life, until = Number.POSITIVE_INFINITY): Promise<void> {
  for (let round = 0; ; round++) {
    if (round === 400) throw new Error('Something is due again and again, and is never done.');
    await world.scheduler.run(Number.POSITIVE_INFINITY);
    if (world.queue.redrive() > 0) {
      world.queue.onSend();
      continue;
    }
    const due = world.bookings().flatMap((booking) => nextRunAt(booking) ?? []);
    if (due.length === 0 || Math.min(...due) * second > until) break;
    world.scheduler.skipTo((Math.min(...due) + 6) * second);
    await Promise.all([reconcile(world), world.scheduler.run(Number.POSITIVE_INFINITY)]);
  }
}

async function comeToRest(life: Life): Promise<void> {
  const { world } = life;
  await rest(life);
  world.scheduler.skipTo(world.now() + 2 * 3600 * second);
  await Promise.all([sweep(world), world.scheduler.run(Number.POSITIVE_INFINITY)]);
}

/** Users whose calendar does not work connect again. */
async function mendConnections(life: Life): Promise<void> {
  const { world, truth } = life;
  for (const user of truth.plan.users) {
    if (isConnected(life, user)) continue;
    await Promise.all([connect(life, user, 'mends'), world.scheduler.run(Number.POSITIVE_INFINITY)]);
  }
}

/** Whether a user's connection is on record as working. A grant that is dead at Google is not known to be so yet. */
export function isConnected({ world, truth }: Life, user: string): boolean {
  const connection = world.connections().find(({ userId }) => userId === user);
  const account = truth.plan.accounts[user];
  const grant = [...world.google.state.grants.values()].find(({ sub }) => sub === account);
  return connection?.status === 'active' && grant !== undefined;
}

async function carryOut(life: Life, deed: Deed): Promise<void> {
  const { world, truth } = life;
  await world.pause(deed.at);
  world.tell(tell(deed));
  const key = `${deed.id} ${deed.do}`;
  switch (deed.do) {
    case 'pay':
    case 'pay by session':
    case 'pay elsewhere':
    case 'pay as another user':
    case 'cancel authorization':
    case 'expire session':
    case 'fail':
    case 'refund':
    case 'refund charge':
    case 'dispute': {
      const from = world.now();
      const twice = world.chance(`twice ${key}`)() < 0.25;
      const body = JSON.stringify(stripeEvent(truth.plan, deed));
      await Promise.all([
        deliver(life, `${key}`, body),
        ...(twice ? [world.pause(1500).then(() => deliver(life, `${key} again`, body))] : []),
      ]);
      truth.delivered.push(deed);
      truth.times.set(deed, { from, to: world.now() });
      return;
    }
    case 'declare':
    case 'move':
    case 'rename':
    case 'repeat':
    case 'invite':
    case 'cancel':
      return inTurn(life, deed.booking, () => askBackend(life, key, deed));
    case 'connect':
      return connect(life, deed.user, key);
    case 'disconnect':
      return untilDone(life, key, 'connections', timeouts.connections, (deps) =>
        disconnect(deps, deed.user),
      ).then(noop);
    case 'choose calendar': {
      const calendarId = calendarNamed(world, truth.plan.accounts[deed.user] as string, deed.calendar);
      if (calendarId === undefined) return;
      const choose = (deps: Deps) => changeConnection(deps, deed.user, { calendarId });
      return untilDone(life, key, 'connections', timeouts.connections, choose).then(noop);
    }
    case 'revoke at Google':
      return world.google.revokeByHand(truth.plan.accounts[deed.user] as string);
    case 'delete by hand':
    case 'edit by hand':
    case 'guests respond':
    case 'owner invites':
    case 'move by hand':
      return changeEvent(world, truth, deed);
    case 'switch calendar':
      return switchCalendar(world, truth.plan.accounts[deed.user] as string, deed.to);
    case 'share':
      return share(world, truth.plan.accounts[deed.user] as string, deed.role);
    case 'delete calendar':
      return deleteSecondCalendar(world, truth, truth.plan.accounts[deed.user] as string);
    case 'rotate token keys':
      return rotateTokenKeys(world, key);
    case 'rotate signing secret':
      return rotateSigningSecret(world, key);
    case 'rotate client secret':
      return rotateClientSecret(world, key);
    case 'redrive': {
      if (world.queue.redrive() > 0) world.queue.onSend();
      return;
    }
    case 'outage': {
      const of = {
        Google: /^(events|freebusy|calendarList|token|revoke)/,
        'rate limit': /^(events|freebusy|calendarList)/,
        tables: /^(table|batch|index)/,
        queue: /^queue/,
        bus: /^bus/,
      };
      return world.beginOutage(
        (target) => of[deed.of].test(target),
        deed.seconds * second,
        deed.of === 'rate limit',
      );
    }
  }
}

const noop = (): void => {};
const signingSecrets = new WeakMap<World, string>();

/** A provider delivers until it is told that its event has arrived, ever less often. */
async function deliver(life: Life, key: string, body: string): Promise<void> {
  const { world } = life;
  const waits = [3, 20, 60, 180];
  for (let attempt = 1; ; attempt++) {
    const timestamp = seconds(world.now());
    const secret = signingSecrets.get(world) ?? 'whsec_canary-signing-secret-1';
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
function inTurn(life: Life, booking: string, act: () => Promise<void>): Promise<void> {
  const ofLife = turns.get(life) ?? new Map<string, Promise<void>>();
  turns.set(life, ofLife);
  const turn = (ofLife.get(booking) ?? Promise.resolve()).then(act);
  ofLife.set(booking, turn);
  return turn;
}

async function askBackend(
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
async function untilDone(
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
async function connect(life: Life, user: string, key: string): Promise<void> {
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

function rotateTokenKeys(world: World, key: string): void {
  for (const purpose of Object.keys(keySecrets) as KeyPurpose[]) {
    const newKey = () => `canary-${purpose}-${key}`.padEnd(64, '.');
    try {
      const { text } = rotate(purpose, world.texts[purpose] as string, seconds(world.now()), newKey);
      world.texts[purpose] = text;
    } catch {
      // One rotation is under way already.
    }
  }
}

/** The new secret is put beside the old one, then the provider signs with it, then the old one goes. */
async function rotateSigningSecret(world: World, key: string): Promise<void> {
  const old = signingSecrets.get(world) ?? 'whsec_canary-signing-secret-1';
  const fresh = `whsec_canary-signing-secret-${key.replaceAll(' ', '-')}`;
  world.texts['webhook-signing'] = JSON.stringify({ stripe: [fresh, old] });
  await world.pause(minute);
  signingSecrets.set(world, fresh);
}

/** Somebody makes a new client secret at Google and is not quick to bring it here. */
async function rotateClientSecret(world: World, key: string): Promise<void> {
  const random: Random = world.chance(`client secret ${key}`);
  const [client] = world.google.state.clients;
  if (!client) return;
  client.clientSecret = `canary-client-secret-${key}`;
  await world.pause(between(random, 0, 120) * second);
  const { clientId: client_id, clientSecret: client_secret } = client;
  world.texts['google-oauth-client'] = JSON.stringify({ web: { client_id, client_secret } });
}
