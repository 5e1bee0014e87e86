import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import type { SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it, vi } from 'vitest';
import { verifiedMessages } from '../../functions/booking-sync/read-message.ts';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { startConnection } from '../../functions/connect/start-connection.ts';
import { disconnect } from '../../functions/connections/manage-connection.ts';
import { completeConnection } from '../../functions/oauth-callback/complete-connection.ts';
import { reencryptTokens } from '../../functions/token-refresh/reencrypt-tokens.ts';
import { refreshDueConnections } from '../../functions/token-refresh/refresh-due.ts';
import { propagationSeconds, type Rotation, retire, rotate } from '../../infra/cli/keys-rotation.ts';
import { keysStore, tokensByKey } from '../../infra/cli/keys-store.ts';
import { startAwsJsonServer } from '../../infra/local/aws/aws-json.ts';
import { resolveResources } from '../../infra/local/aws/resources.ts';
import { createSecrets } from '../../infra/local/aws/secrets.ts';
import { readAssembly } from '../../infra/local/aws/template.ts';
import { walkConsent } from '../../infra/local/google/walk-consent.ts';
import { minReloadIntervalSeconds, secret, secretTtlSeconds } from '../../shared/aws/secrets.ts';
import { type PaymentReported, paymentQueue } from '../../shared/booking/queue.ts';
import { getAccess, refresh } from '../../shared/connection/access-token.ts';
import type { GrantedConnection } from '../../shared/connection/connection.ts';
import { parseKeys } from '../../shared/crypto/keys.ts';
import { randomSecret } from '../../shared/crypto/oauth-state.ts';
import { decryptTokens } from '../../shared/crypto/token-encryption.ts';
import { signUserToken } from '../../shared/crypto/user-token.ts';
import { audiences } from '../../shared/lib/names.ts';
import { logged } from '../support/setup.ts';
import { ada, ben, startWorld, type World } from './world.ts';

const publicUrl = 'http://localhost:3000';
/** The secrets that a rotation is tested on, by their name in the template. */
const secretIds = {
  'token-encryption': 'TokenEncryption',
  'state-encryption': 'StateEncryption',
  'link-signing': 'LinkSigning',
  'payment-messages': 'PaymentMessages',
} as const;
type Rotated = keyof typeof secretIds;
const rotatedPurposes = Object.keys(secretIds) as Rotated[];
const coded = (code: string) => expect.objectContaining({ code });
const newKey = () => randomSecret() + randomSecret();

const secrets = createSecrets();
let secretsServer: Awaited<ReturnType<typeof startAwsJsonServer>>;
let secretsManager: SecretsManagerClient;
beforeAll(async () => {
  const { template } = readAssembly(inject('assembly'));
  const declared = resolveResources(template, { apiUrl: '', queueUrlBase: '' }).resourcesOf(
    'AWS::SecretsManager::Secret',
  );
  secrets.create(declared);
  secretsServer = await startAwsJsonServer(secrets.operations);
  vi.stubEnv('AWS_ENDPOINT_URL_SECRETS_MANAGER', secretsServer.url);
  vi.stubEnv('AWS_REGION', 'eu-central-1');
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'test');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test');
  secretsManager = new SecretsManagerClient();
});
afterAll(async () => {
  secretsManager.destroy();
  await secretsServer.close();
  vi.unstubAllEnvs();
});

let world: World;
beforeEach(async () => {
  for (const secretId of Object.values(secretIds))
    secrets.put(secretId, JSON.stringify({ current: 'k1', k1: newKey() }));
  logged.length = 0;
  world = await startWorld();
  world.tokenKeys.value = parseKeys('token-encryption', keysText());
  vi.useFakeTimers({ toFake: ['Date'] });
  passTo(world.time.now);
});
afterEach(async () => {
  vi.useRealTimers();
  await world.close();
});

/** Moves the world's clock, and that of this process: Google's library reads it for ID tokens. */
function passTo(now: number): void {
  world.time.now = now;
  vi.setSystemTime(now * 1000);
}
const pass = (seconds: number) => passTo(world.time.now + seconds);

const keysText = (purpose: Rotated = 'token-encryption') => secrets.get(secretIds[purpose]) as string;
const operator = (purpose: Rotated = 'token-encryption') => keysStore(secretsManager, secretIds[purpose]);
const tokensOf = () => tokensByKey(world.dynamo, 'ConnectionsTable');

/** Rotates as the command does, and returns the result. */
async function rotateKeys({ purpose = 'token-encryption' as Rotated, atOnce = false } = {}) {
  const known = await operator(purpose).read();
  const rotation = rotate(purpose, known.text, world.time.now, newKey, { atOnce });
  expect(await operator(purpose).replace(known, rotation.text)).toBeUndefined();
  return rotation;
}

/**
 * An execution environment of Lambda with its own copy of the keys, as old as its own last read.
 * @param onSurprise called for each value that its keys cannot decrypt
 */
type Environment = ReturnType<typeof startEnvironment>;
function startEnvironment(onSurprise = () => {}) {
  const keysOf = <Purpose extends Rotated>(purpose: Purpose) => {
    const keys = secret(secretIds[purpose], (text) => parseKeys(purpose, text), world.deps.clock);
    return {
      get: keys.get,
      reload() {
        onSurprise();
        return keys.reload();
      },
    };
  };
  return {
    ...world.deps,
    tokenKeys: keysOf('token-encryption'),
    stateKeys: keysOf('state-encryption'),
    linkKeys: keysOf('link-signing'),
    messageKeys: keysOf('payment-messages'),
    timeLeft: () => true,
    randomSecret,
    authorizationUrl: `${world.google.url}/o/oauth2/v2/auth`,
    publicUrl,
    returnOrigins: [],
    calendarScope: 'owned' as const,
    optionalScopes: [],
  };
}

const linkToken = (userId: string, keys = keysText('link-signing')) =>
  signUserToken(parseKeys('link-signing', keys), {
    userId,
    audience: audiences.connect,
    now: world.time.now,
  });
const begin = (environment: Environment, token: string) =>
  startConnection(environment, { token, retry: undefined, returnTo: undefined, browser: undefined });
const accountOf = (userId: string) => (Number(userId.slice(-1)) % 2 === 0 ? ada : ben);

async function finish(environment: Environment, userId: string, begun: Awaited<ReturnType<typeof begin>>) {
  const callback = await walkConsent(begun.location, { account: accountOf(userId) });
  const query = new URL(callback).searchParams;
  return completeConnection(environment, { query, browser: begun.browser });
}
const sweep = async (environment: Environment) => ({
  ...(await refreshDueConnections(environment)),
  ...(await reencryptTokens(environment)),
});
const codesInLog = () =>
  logged.filter((line) => /token_unreadable|state_invalid|token_invalid|payment_message_invalid/.test(line));

/** The queued message of a payment. */
async function enqueued({ messageKeys, clock }: Environment, message: PaymentReported) {
  let queued = '';
  const send = async ({ input }: SendMessageCommand) => {
    queued = input.MessageBody ?? '';
  };
  await paymentQueue('bookings.fifo', messageKeys, clock, { send } as unknown as SQSClient).send(message);
  return queued;
}

describe('a rotation under traffic', () => {
  it('a rotation under traffic loses no token, link, attempt or payment', { timeout: 90_000 }, async () => {
    const { time } = world;
    const users = Array.from({ length: 10 }, (_, index) => `user-${index}`);
    let surprises = 0;
    const start = () => startEnvironment(() => surprises++);
    const environments = Array.from({ length: 6 }, start);
    let turn = 0;
    const anywhere = () => environments[turn++ % environments.length] as Environment;

    const failures: string[] = [];
    const attempt = (what: string, run: () => Promise<unknown>) =>
      run().catch((error: Error & { code?: string }) =>
        failures.push(`${what}: ${error.code ?? error.message}`),
      );
    /** Actions at a later time: a user takes minutes to click a link, and minutes on Google's pages. */
    let later: { at: number; run: () => Promise<unknown> }[] = [];
    const plan = (seconds: number, run: () => Promise<unknown>) =>
      later.push({ at: time.now + seconds, run });
    let backendKeys = keysText('link-signing');
    let links = 0;
    let payments = 0;

    const clickLink = async (userId: string, patience: number) => {
      const token = await linkToken(userId, backendKeys);
      plan(patience, () =>
        attempt('connect', async () => {
          const begun = await begin(anywhere(), token);
          plan(patience, () => attempt('callback', () => finish(anywhere(), userId, begun)));
        }),
      );
    };
    const pay = (userId: string) => {
      const message = world.payment(`b${payments++}`, { userId });
      return attempt('payment', async () => {
        const queued = await enqueued(anywhere(), message);
        plan(payments % 5 === 0 ? 600 : 0, () =>
          attempt('sync', async () => {
            const environment = anywhere();
            const received = await verifiedMessages(environment)(queued);
            if (received.type === 'payment') await syncBooking(environment, received);
          }),
        );
      });
    };
    /** Lets time pass in steps of 20 seconds, with all actions of each step run concurrently. */
    const traffic = async (until: number, { more = true } = {}) => {
      for (let step = 0; time.now < until; step++) {
        passTo(Math.min(time.now + 20, until));
        const due = later.filter(({ at }) => at <= time.now);
        later = later.filter(({ at }) => at > time.now);
        const user = users[step % users.length] as string;
        const other = users[(step * 7 + 3) % users.length] as string;
        await Promise.all([
          ...due.map(({ run }) => run()),
          ...(more ? [pay(user)] : []),
          ...(more && step % 3 === 0 ? [clickLink(other, (links++ * 97) % 570)] : []),
          ...(step % 15 === 0 ? [attempt('sweep', () => sweep(anywhere()))] : []),
        ]);
        // Environments start and end.
        if (step % 30 === 0) environments[(step / 30) % environments.length] = start();
      }
    };

    for (const userId of users) {
      pass(300);
      await finish(anywhere(), userId, await begin(anywhere(), await linkToken(userId)));
    }
    await traffic(time.now + 400);
    const rotations = {} as Record<Rotated, Rotation>;
    for (const purpose of rotatedPurposes) rotations[purpose] = await rotateKeys({ purpose });
    const rotation = rotations['token-encryption'];
    expect(rotation.from - time.now).toBeGreaterThan(secretTtlSeconds);
    await traffic(rotation.from + 300);
    backendKeys = keysText('link-signing');
    // A key of payment messages stays for four weeks.
    for (const purpose of ['token-encryption', 'state-encryption', 'link-signing'] as const) {
      await traffic(Math.max(time.now + 20, rotations[purpose].propagatedAt));
      const known = await operator(purpose).read();
      const text = retire(purpose, known.text, 'k1', time.now);
      expect(await tokensOf().countEncryptedWith('k1')).toEqual({ count: 0, complete: true });
      expect(await tokensOf().findEncryptedWith('k1')).toBe(0);
      await operator(purpose).replace(known, text);
      expect(parseKeys(purpose, keysText(purpose)).ids).toEqual([rotations[purpose].id]);
    }
    backendKeys = keysText('link-signing');
    await traffic(time.now + 1300);
    await traffic(time.now + 1300, { more: false });

    expect(failures).toEqual([]);
    expect(codesInLog()).toEqual([]);
    // No environment met an unknown key, so none had to read the keys again.
    expect(surprises).toBe(0);
    expect(links).toBeGreaterThan(50);
    expect(await tokensOf().countEncryptedWith(rotation.id)).toEqual({ count: users.length, complete: true });
    for (const userId of users) {
      expect(await world.connection(userId)).toMatchObject({ status: 'active', keyId: rotation.id });
    }
    const bookings = await Promise.all(
      Array.from({ length: payments }, (_, index) => world.booking(`b${index}`)),
    );
    expect(new Set(bookings.map((booking) => booking?.status))).toEqual(new Set(['scheduled']));
    expect(world.bus.types()).not.toContain('connection.reauthorization_required');
  });
});

describe('an emergency rotation', () => {
  it('emergency key rotation breaks no connection', async () => {
    const [informed, unaware] = [startEnvironment(), startEnvironment()];
    await world.connect('user-1', {
      accessTokenExpiresAt: world.time.now + 30,
      refreshAt: world.time.now - 1,
    });
    await Promise.all([informed.tokenKeys.get(), informed.stateKeys.get()]);
    pass(secretTtlSeconds);
    await Promise.all([unaware.tokenKeys.get(), unaware.stateKeys.get()]);
    const { id } = await rotateKeys({ atOnce: true });
    await rotateKeys({ purpose: 'state-encryption', atOnce: true });
    await sweep(informed);
    expect(await world.connection('user-1')).toMatchObject({ keyId: id, tokenVersion: 2 });
    const begun = await begin(informed, await linkToken('user-2'));

    const connection = (await world.connection('user-1')) as GrantedConnection;
    await expect(getAccess(unaware, connection)).rejects.toThrow(coded('token_unreadable'));
    await expect(finish(unaware, 'user-2', begun)).rejects.toThrow(coded('state_invalid'));
    await syncBooking(unaware, world.payment('b1'));
    expect(await world.booking('b1')).toMatchObject({
      status: 'pending',
      problems: [{ code: 'token_unreadable' }],
    });
    await sweep(unaware);
    expect(await world.connection('user-1')).toEqual(connection);

    pass(minReloadIntervalSeconds);
    expect((await getAccess(unaware, connection)).connection.tokenVersion).toBe(2);
    await finish(unaware, 'user-2', begun);
    await syncBooking(unaware, { type: 'sync', bookingId: 'b1', userId: 'user-1', cause: 'test' });
    expect(await world.booking('b1')).toMatchObject({ status: 'scheduled' });
    expect(await world.connection('user-2')).toMatchObject({ status: 'active', keyId: id });
    expect(world.bus.types()).not.toContain('connection.reauthorization_required');
  });
});

describe('re-encryption of tokens', () => {
  /** Rotates and waits until the new key is in use. */
  async function rotated() {
    const rotation = await rotateKeys();
    passTo(rotation.from);
    return rotation;
  }
  const onlyKey = (id: string) => {
    const { [id]: key } = JSON.parse(keysText());
    return parseKeys('token-encryption', JSON.stringify({ current: id, [id]: key }));
  };
  const tokensOnOldKey = () =>
    logged.map((line) => JSON.parse(line)).filter((entry) => 'TokensOnOldKey' in entry);

  it('re-encrypts idle and broken connections without calling Google or changing more', async () => {
    const { now } = world.time;
    const idle = await world.connect('idle', {
      lastUsedAt: now - 30 * 86_400,
      refreshAt: now + 2 * 86_400,
    });
    await world.connect('broken');
    await world.deps.connections.markReauthorizationRequired('broken', 1, 'invalid_grant', now);
    const broken = await world.connection('broken');
    const { id } = await rotated();

    expect(await reencryptTokens(startEnvironment())).toEqual({ reencrypted: 2 });
    expect(world.calls()).toEqual([]);
    const sealedAnew = { keyId: id, tokens: expect.any(String) };
    expect(await world.connection('idle')).toEqual({ ...idle, ...sealedAnew });
    expect(await world.connection('broken')).toEqual({ ...broken, ...sealedAnew });
    for (const [userId, before] of [
      ['idle', idle],
      ['broken', broken as GrantedConnection],
    ] as const) {
      const { tokens } = (await world.connection(userId)) as GrantedConnection;
      expect(await decryptTokens(onlyKey(id), userId, tokens)).toEqual(
        await decryptTokens(world.tokenKeys.value, userId, before.tokens),
      );
    }
    expect(tokensOnOldKey()).toEqual([expect.objectContaining({ key: 'k1', TokensOnOldKey: 0 })]);
  });

  it('re-encrypts a grant whose revocation is pending, which succeeds without the old key', async () => {
    await world.connect('user-1');
    world.google.control.fail({ on: 'revoke', how: { status: 503 } });
    expect(await disconnect(world.deps, 'user-1')).toMatchObject({ revocation: 'pending' });
    const { id } = await rotated();
    expect(await tokensOf().findEncryptedWith('k1')).toBe(1);
    await reencryptTokens(startEnvironment());
    expect(await tokensOf().findEncryptedWith('k1')).toBe(0);

    pass(propagationSeconds['token-encryption']);
    secrets.put(secretIds['token-encryption'], retire('token-encryption', keysText(), 'k1', world.time.now));
    expect(await sweep(startEnvironment())).toMatchObject({ revoked: 1, failed: 0 });
    expect(await world.connection('user-1')).not.toHaveProperty('revocation');
    expect(await tokensOf().findEncryptedWith(id)).toBe(0);
  });

  it('a re-encryption never undoes a concurrent refresh', async () => {
    await world.connect('user-1');
    await rotated();
    const environment = startEnvironment();
    const stale = heldBack(environment);
    const carrying = reencryptTokens({ ...environment, connections: stale.connections });
    await stale.read;
    const { accessToken } = await refresh(
      { ...environment, tokenKeys: world.tokenKeys },
      (await world.connection('user-1')) as GrantedConnection,
      { used: false },
    );
    stale.goOn();
    expect(await carrying).toEqual({ reencrypted: 0 });
    const stored = (await world.connection('user-1')) as GrantedConnection;
    expect(stored).toMatchObject({ tokenVersion: 2, keyId: 'k1' });
    expect(await decryptTokens(world.tokenKeys.value, 'user-1', stored.tokens)).toMatchObject({
      accessToken,
    });
    expect(tokensOnOldKey()).toEqual([expect.objectContaining({ key: 'k1', TokensOnOldKey: 1 })]);

    expect(await reencryptTokens(environment)).toEqual({ reencrypted: 1 });
    expect(await tokensOf().findEncryptedWith('k1')).toBe(0);
  });

  it('counts the connections that remain when the time limit is reached', async () => {
    for (const userId of ['a', 'b', 'c']) await world.connect(userId);
    await rotated();
    let pages = 1;
    const timeLeft = () => pages-- > 0;
    const failing = { ...world.deps.connections, replaceCiphertext: async () => false };
    await reencryptTokens({ ...startEnvironment(), connections: failing, timeLeft });
    expect(tokensOnOldKey()).toEqual([expect.objectContaining({ key: 'k1', TokensOnOldKey: 3 })]);
    expect(await tokensOf().countEncryptedWith('k1')).toEqual({ count: 3, complete: true });
  });

  /** A store whose reads are answered when the test says so. */
  function heldBack({ connections }: Environment) {
    const read = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    return {
      read: read.promise,
      goOn: go.resolve,
      connections: {
        ...connections,
        async get(userId: string) {
          const connection = await connections.get(userId);
          read.resolve();
          await go.promise;
          return connection;
        },
      },
    };
  }
});

describe('the keys of a stack', () => {
  it('does not replace keys that were changed since they were read', async () => {
    const known = await operator().read();
    const { text } = await rotateKeys();
    await expect(operator().replace(known, '{}')).rejects.toThrow(/Nothing was done: try again/);
    expect(keysText()).toBe(text);
  });

  it('finds keys in use in stored tokens, also in a pending revocation', async () => {
    const before = await world.connect('user-1');
    const { id, from } = await rotateKeys();
    passTo(from);
    await reencryptTokens(startEnvironment());
    const connection = (await world.connection('user-1')) as GrantedConnection;
    const revocation = { tokens: before.tokens, googleSub: 'another' };
    await world.deps.connections.put({ ...connection, revocation }, connection);
    expect(await tokensOf().countEncryptedWith('k1')).toEqual({ count: 0, complete: true });
    expect(await tokensOf().findEncryptedWith('k1')).toBe(1);
    expect(await tokensOf().findEncryptedWith(id)).toBe(1);
  });
});
