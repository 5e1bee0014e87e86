import { createHmac, randomBytes } from 'node:crypto';
import { ScanCommand } from '@aws-sdk/client-dynamodb';
import { unmarshall } from '@aws-sdk/util-dynamodb';
import { CompactEncrypt, type JWTHeaderParameters, SignJWT } from 'jose';
import { Webhook } from 'standardwebhooks';
import { Stripe } from 'stripe';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { startConnection } from '../../functions/connect/start-connection.ts';
import { disconnect } from '../../functions/connections/manage-connection.ts';
import { completeConnection } from '../../functions/oauth-callback/complete-connection.ts';
import { acceptWebhook } from '../../functions/payment-confirmed/accept-webhook.ts';
import { timestampToleranceSeconds } from '../../functions/payment-confirmed/signature.ts';
import { standard } from '../../functions/payment-confirmed/standard/provider.ts';
import { stripe } from '../../functions/payment-confirmed/stripe/provider.ts';
import { checkoutCompleted, demoBooking } from '../../infra/cli/payment.ts';
import type { Forgery } from '../../infra/local/google/state.ts';
import { walkConsent } from '../../infra/local/google/walk-consent.ts';
import type { PaymentReported } from '../../shared/booking/queue.ts';
import { parseKeys } from '../../shared/crypto/keys.ts';
import { encryptState, randomSecret, stateLifetimeSeconds } from '../../shared/crypto/oauth-state.ts';
import { signUserToken } from '../../shared/crypto/user-token.ts';
import { authenticate } from '../../shared/http/bearer.ts';
import type { HttpRequest } from '../../shared/http/http.ts';
import { type Audience, audiences } from '../../shared/lib/names.ts';
import { cachedSecret } from '../fakes/secret.ts';
import { logged } from '../support/setup.ts';
import { ben, startWorld, type World } from './world.ts';

const publicUrl = 'http://localhost:3000';
let world: World;
/** A user per test, so that one world suffices for all. */
let user = '';
let users = 0;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world?.close());
beforeEach(() => {
  user = `user-${++users}`;
  world.time.now = Math.floor(Date.now() / 1000);
  world.google.control.setSwitch('forgeIdToken', 'no');
  world.google.control.clearRequests();
  for (const kept of [world.queue.messages, world.bus.events, logged]) kept.length = 0;
});

/** Everything that an attack must leave unchanged: both tables, the queue and published events. */
async function standing() {
  const tables = await Promise.all(
    ['ConnectionsTable', 'BookingsTable'].map((TableName) =>
      world.dynamo.send(new ScanCommand({ TableName, ConsistentRead: true })),
    ),
  );
  return {
    // The callback counts the codes of a link before it redeems one, which no attack aims at.
    rows: tables.map(({ Items = [] }) =>
      Items.map((item) => unmarshall(item)).filter(({ userId }) => !userId?.startsWith('link#')),
    ),
    queue: [...world.queue.messages],
    events: [...world.bus.events],
  };
}
/** Expects that an attack is refused with a code and changes nothing. Returns the error. */
async function refused(code: string, attack: () => Promise<unknown>): Promise<unknown> {
  const before = await standing();
  const outcome = await attack().then(
    () => 'success',
    (error: unknown) => error,
  );
  expect(outcome).toMatchObject({ code });
  expect(await standing()).toEqual(before);
  return outcome;
}
const callsTo = (route: string): number => world.calls().filter((each) => each === route).length;

/** Calendar events of this test's user. */
const standingEvents = () =>
  world
    .events()
    .filter(({ extendedProperties }) => extendedProperties?.private?.leadscalendarBooking?.endsWith(user));

type Visit = { location: string; browser: string };
const linkToken = (userId: string) =>
  signUserToken(world.deps.linkKeys.value, { userId, audience: audiences.connect, now: world.time.now });
function open(request: Partial<Parameters<typeof startConnection>[1]>): Promise<Visit> {
  const deps = {
    ...world.deps,
    randomSecret,
    authorizationUrl: `${world.google.url}/o/oauth2/v2/auth`,
    publicUrl,
    returnOrigins: ['https://app.example.com'],
    calendarScope: 'owned' as const,
    optionalScopes: [],
  };
  const nothing = { token: undefined, retry: undefined, returnTo: undefined, browser: undefined };
  return startConnection(deps, { ...nothing, ...request });
}
const begin = async (userId: string, browser?: string) => open({ token: await linkToken(userId), browser });
const finish = (callback: string, browser: string | undefined) =>
  completeConnection({ ...world.deps, publicUrl }, { query: new URL(callback).searchParams, browser });
const connect = async (userId: string) => {
  const { location, browser } = await begin(userId);
  return finish(await walkConsent(location), browser);
};
/** An address with some query parameters changed or removed. */
function changed(address: string, change: Record<string, string | undefined>): string {
  const url = new URL(address);
  for (const [name, value] of Object.entries(change)) {
    if (value === undefined) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  return url.href;
}
const parameter = (address: string, name: string): string => new URL(address).searchParams.get(name) ?? '';

describe('a forged ID token', () => {
  const forgeries: [string, Forgery][] = [
    ['that is not signed (alg none)', 'unsigned'],
    ['signed by HS256 with the public key', 'hmac_of_public_key'],
    ["signed with a stranger's key under Google's key id", 'other_key'],
    ['under a key id that Google does not publish', 'unknown_key_id'],
    ['with another account than was signed', 'other_subject'],
    ['for another app', 'other_audience'],
    ['of another issuer', 'other_issuer'],
    ['that has expired', 'expired'],
    ['that is not valid yet', 'not_yet_valid'],
    ['of another attempt', 'other_nonce'],
    ['of no attempt', 'no_nonce'],
    ['without a subject', 'no_subject'],
  ];

  it.each(forgeries)('an ID token %s connects no user', async (_, forgery) => {
    world.google.control.setSwitch('forgeIdToken', forgery);
    await refused('id_token_invalid', () => connect(user));
    expect(callsTo('token')).toBe(1);
  });

  it.each(forgeries)('an ID token %s replaces no connection and is not logged', async (_, forgery) => {
    await connect(user);
    world.time.now += 60;
    world.google.control.setSwitch('forgeIdToken', forgery);
    await refused('id_token_invalid', () => connect(user));
    expect(logged.join()).not.toMatch(/eyJ[\w-]/);
    world.google.control.setSwitch('forgeIdToken', 'no');
    world.time.now += 60;
    await connect(user);
    expect(await world.connection(user)).toMatchObject({ tokenVersion: 2, status: 'active' });
  });
});

describe('the OAuth state', () => {
  it('a used state is refused, also with a fresh code', async () => {
    const { location, browser } = await begin(user);
    const callback = await walkConsent(location);
    const other = await walkConsent(location, { account: ben });
    await finish(callback, browser);
    await refused('state_used', () => finish(callback, browser));
    await refused('state_used', () => finish(other, browser));
    expect(callsTo('token')).toBe(1);
  });

  it('a state ends with its connection and after ten minutes', async () => {
    const { location, browser } = await begin(user);
    const callback = await walkConsent(location);
    await finish(callback, browser);
    await disconnect(world.deps, user);
    await refused('state_used', () => finish(callback, browser));
    world.time.now += stateLifetimeSeconds + 1;
    await refused('state_expired', () => finish(callback, browser));
  });

  it("an attacker's state does not connect the attacker's calendar in the victim's browser", async () => {
    const attacker = await begin('attacker');
    const victim = await begin(user);
    const callback = await walkConsent(attacker.location, { account: ben });
    await refused('wrong_browser', () => finish(callback, victim.browser));
    await refused('wrong_browser', () => finish(callback, undefined));
    expect(callsTo('token')).toBe(0);
  });

  it("a victim's state is refused in the attacker's browser", async () => {
    const attacker = await begin('attacker');
    const victim = await begin(user);
    const state = parameter(victim.location, 'state');
    const callback = await walkConsent(attacker.location, { account: ben });
    await refused('wrong_browser', () => finish(changed(callback, { state }), attacker.browser));
    await refused('wrong_browser', () => open({ retry: state, browser: attacker.browser }));
    expect(callsTo('token')).toBe(0);
  });

  it('refuses a state that is encrypted with another key or not at all', async () => {
    const { browser } = await begin(user);
    const { stateKeys, linkKeys, tokenKeys } = world.deps;
    const claims = {
      userId: user,
      linkTokenHash: 'l',
      verifier: 'v'.repeat(43),
      nonce: 'n',
      browserSecretHash: 'b',
    };
    const exp = world.time.now + 60;
    const keyOf = (secret: { value: { key(id: string): Uint8Array | undefined } }) =>
      secret.value.key('k1') as Uint8Array;
    const encrypt = (with32Bytes: Uint8Array) =>
      new CompactEncrypt(Buffer.from(JSON.stringify({ ...claims, exp })))
        .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: 'k1' })
        .encrypt(with32Bytes);
    const stranger = parseKeys(
      'state-encryption',
      JSON.stringify({ current: 'k1', k1: randomBytes(32).toString('hex') }),
    );
    const forged = [
      // Keys of LeadsCalendar's backend: the text of the link key, and the bytes that it encodes.
      await encrypt(keyOf(linkKeys).subarray(0, 32)),
      await encrypt(Buffer.from(new TextDecoder().decode(keyOf(linkKeys)), 'base64url')),
      await encrypt(keyOf(tokenKeys)),
      await new SignJWT({ ...claims, exp })
        .setProtectedHeader({ alg: 'HS256', kid: 'k1' })
        .sign(keyOf(stateKeys)),
      await encryptState(stranger, claims, world.time.now, exp),
      Buffer.from(JSON.stringify({ ...claims, exp })).toString('base64url'),
    ];
    for (const state of forged) {
      const query = new URLSearchParams({ state, code: '4/0made-up' });
      await refused('state_invalid', () => finish(`${publicUrl}/?${query}`, browser));
      await refused('state_invalid', () => open({ retry: state, browser }));
    }
  });
});

describe('an authorization code', () => {
  it("a victim's code does not connect the victim's calendar to the attacker", async () => {
    const victim = await begin(user);
    const attacker = await begin('attacker');
    const stolen = parameter(await walkConsent(victim.location), 'code');
    const callback = changed(await walkConsent(attacker.location), { code: stolen });
    await refused('authorization_failed', () => finish(callback, attacker.browser));
  });

  it("an attacker's code does not connect the attacker's calendar to the victim", async () => {
    const victim = await begin(user);
    const attacker = await begin('attacker');
    const planted = parameter(await walkConsent(attacker.location, { account: ben }), 'code');
    const callback = changed(await walkConsent(victim.location), { code: planted });
    await refused('authorization_failed', () => finish(callback, victim.browser));
  });

  it('the nonce stops a code that was requested without PKCE', async () => {
    const victim = await begin(user);
    const attacker = await begin('attacker');
    const downgraded = changed(attacker.location, {
      code_challenge: undefined,
      code_challenge_method: undefined,
    });
    const planted = parameter(await walkConsent(downgraded, { account: ben }), 'code');
    const callback = changed(await walkConsent(victim.location), { code: planted });
    await refused('id_token_invalid', () => finish(callback, victim.browser));
    expect(callsTo('token')).toBe(1);
  });
});

describe('a link', () => {
  it('two attempts of one link that end at the same moment make one connection', async () => {
    const token = await linkToken(user);
    const first = await open({ token });
    const second = await open({ token, browser: first.browser });
    const callbacks = [
      await walkConsent(first.location),
      await walkConsent(second.location, { account: ben }),
    ];
    const outcomes = await Promise.allSettled(callbacks.map((each) => finish(each, first.browser)));
    const reasons = outcomes.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []));
    expect(reasons).toEqual([expect.objectContaining({ code: 'state_used' })]);
    expect(await world.connection(user)).toMatchObject({ tokenVersion: 1, status: 'active' });
  });

  it('a used link connects nothing after its user has disconnected', async () => {
    const token = await linkToken(user);
    const first = await open({ token });
    await finish(await walkConsent(first.location), first.browser);
    await disconnect(world.deps, user);
    const again = await open({ token, browser: first.browser });
    const callback = await walkConsent(again.location);
    await refused('state_used', () => finish(callback, again.browser));
  });
});

it.each([
  'https://app.example.com:444/',
  'https://app.example.com@evil.example/',
  'https://app.example.com:x@evil.example/',
  'https://evil.example\\@app.example.com/',
  'https://evil.example#@app.example.com/',
  'https://evil.example/https://app.example.com/',
  'https://app.example.com%2eevil.example/',
  'https://app.example.com.',
  '//evil.example',
  '///evil.example',
  '\\\\evil.example',
  '/settings',
  'data:text/html,<script>alert(1)</script>',
  'blob:https://app.example.com/0c7a',
  'filesystem:https://app.example.com/x',
  'view-source:https://app.example.com/',
  ' javascript:alert(1)//https://app.example.com/',
  'java\nscript:alert(1)',
  'ftp://app.example.com/',
  'null',
])('refuses a link that returns to %j', async (returnTo) => {
  const token = await linkToken(user);
  await refused('return_to_not_allowed', () => open({ token, returnTo }));
});

describe.each<[string, Audience, (token: string) => Promise<unknown>]>([
  ['connect', audiences.connect, (token) => open({ token })],
  [
    'the API',
    audiences.api,
    (token) =>
      authenticate(world.deps, { headers: { authorization: `Bearer ${token}` } } as unknown as HttpRequest),
  ],
])('a token at %s', (_, audience, use) => {
  const now = () => world.time.now;
  const claims = (change: object = {}) => ({
    sub: user,
    aud: audience,
    iat: now(),
    exp: now() + 600,
    ...change,
  });
  const key = (name?: 'linkKeys' | 'apiKeys' | 'stateKeys' | 'tokenKeys' | 'messageKeys') =>
    world.deps[name ?? (audience === audiences.connect ? 'linkKeys' : 'apiKeys')].value.key(
      'k1',
    ) as Uint8Array;
  const make = (change: object = {}, header: Partial<JWTHeaderParameters> = {}, secret = key()) =>
    new SignJWT(claims(change)).setProtectedHeader({ alg: 'HS256', kid: 'k1', ...header }).sign(secret);
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const otherAudience = Object.values(audiences).find((each) => each !== audience) as string;

  it('accepts a valid token: each forgery below differs in one thing only', async () => {
    await expect(use(await make())).resolves.toBeDefined();
  });

  it.each<[string, string, () => Promise<string>]>([
    ['signed with another key', 'token_invalid', () => make({}, {}, randomBytes(43))],
    ['signed with the key for states', 'token_invalid', () => make({}, {}, key('stateKeys'))],
    ['signed with the key for tokens at rest', 'token_invalid', () => make({}, {}, key('tokenKeys'))],
    ['signed with the key for payment messages', 'token_invalid', () => make({}, {}, key('messageKeys'))],
    [
      "signed with the backend's other key",
      'token_invalid',
      () => make({}, {}, key(audience === audiences.connect ? 'apiKeys' : 'linkKeys')),
    ],
    [
      'signed with the bytes that the key spells',
      'token_invalid',
      () => make({}, {}, Buffer.from(new TextDecoder().decode(key()), 'base64url')),
    ],
    ['for the other purpose', 'token_invalid', () => make({ aud: otherAudience })],
    ['for no purpose', 'token_invalid', () => make({ aud: undefined })],
    ['for a purpose that begins alike', 'token_invalid', () => make({ aud: `${audience}/more` })],
    ['that has expired', 'token_expired', () => make({ iat: now() - 660, exp: now() - 60 })],
    ['that is not valid yet', 'token_invalid', () => make({ nbf: now() + 60 })],
    ['issued in the future', 'token_invalid', () => make({ iat: now() + 60, exp: now() + 120 })],
    ['issued long ago that lives on', 'token_expired', () => make({ iat: now() - 7200 })],
    ['that lives for a day', 'token_invalid', () => make({ exp: now() + 86_400 })],
    ['that never expires', 'token_invalid', () => make({ exp: undefined })],
    [
      'signed by HS512 with the right key',
      'token_invalid',
      async () => {
        const content = `${encode({ alg: 'HS512', kid: 'k1' })}.${encode(claims())}`;
        return `${content}.${createHmac('sha512', key()).update(content).digest('base64url')}`;
      },
    ],
    [
      'that is not signed (alg none)',
      'token_invalid',
      async () => `${encode({ alg: 'none', kid: 'k1' })}.${encode(claims())}.`,
    ],
    [
      'that says alg none over a right signature',
      'token_invalid',
      async () => [encode({ alg: 'none' }), ...(await make()).split('.').slice(1)].join('.'),
    ],
    [
      'whose user was changed',
      'token_invalid',
      async () => {
        const [header, , signature] = (await make()).split('.');
        return [header, encode(claims({ sub: 'another-user' })), signature].join('.');
      },
    ],
    [
      'that brings its own key',
      'token_invalid',
      () => {
        const own = randomBytes(32);
        const jwk = { kty: 'oct', k: own.toString('base64url') };
        return make({}, { jwk, kid: 'own' }, own);
      },
    ],
    [
      'whose key id is a path',
      'token_invalid',
      () => make({}, { kid: '../../../dev/null' }, new Uint8Array(32)),
    ],
  ])('refuses a token %s', async (_, code, forge) => {
    const token = await forge();
    await refused(code, () => use(token));
    expect(logged.join()).not.toContain(token);
  });
});

describe('webhooks', () => {
  const raw = randomBytes(32);
  // A secret that both schemes accept and read differently.
  const secret = `whsec_${raw.toString('base64')}`;
  const payload = (): string => {
    const now = world.time.now * 1000;
    return JSON.stringify(checkoutCompleted(demoBooking(user, `booking-of-${user}`, now), now, user));
  };
  const standardPayload = (): string => {
    const { summary, start, end } = demoBooking(user, `booking-of-${user}`, world.time.now * 1000);
    const data = {
      paymentId: user,
      bookingId: `booking-of-${user}`,
      userId: user,
      booking: { summary, start, end },
    };
    return JSON.stringify({
      type: 'payment.confirmed',
      timestamp: new Date(world.time.now * 1000).toISOString(),
      data,
    });
  };
  const deps = () => ({
    ...world.deps,
    secrets: cachedSecret({ stripe: [secret], standard: [secret] }),
    stripeMode: 'both' as const,
    invoicesPaidOutOfBand: 'ignore' as const,
    stripeKeys: cachedSecret({}),
    stripeApi: { fetch, baseUrl: 'http://127.0.0.1:9' },
  });
  const mac = (key: string | Buffer, content: string): Buffer =>
    createHmac('sha256', key).update(content).digest();
  const atStripe = (body: string, signature: Buffer, stamp = world.time.now) =>
    acceptWebhook(deps(), stripe, {
      body: Buffer.from(body),
      headers: { 'stripe-signature': `t=${stamp},v1=${signature.toString('hex')}` },
    });
  const atStandard = (body: string, signature: Buffer, stamp = world.time.now, id = 'msg_1') =>
    acceptWebhook(deps(), standard, {
      body: Buffer.from(body),
      headers: {
        'webhook-id': id,
        'webhook-timestamp': String(stamp),
        'webhook-signature': `v1,${signature.toString('base64')}`,
      },
    });
  /** As the official libraries sign. */
  const byStripe = (body: string, stamp = world.time.now): Buffer => {
    const header = Stripe.webhooks.generateTestHeaderString({ payload: body, secret, timestamp: stamp });
    return Buffer.from(header.split('v1=')[1] ?? '', 'hex');
  };
  const byStandard = (body: string, stamp = world.time.now): Buffer =>
    Buffer.from(new Webhook(secret).sign('msg_1', new Date(stamp * 1000), body).slice(3), 'base64');

  it('accepts the key of a secret only in the form of its own scheme', async () => {
    const keys: Record<string, string | Buffer> = {
      'the whole text': secret,
      'the text after the prefix': secret.slice('whsec_'.length),
      'the bytes after the prefix': raw,
      'the bytes in hex': raw.toString('hex'),
      'no key': '',
    };
    const [forStripe, forStandard] = [payload(), standardPayload()];
    const stamp = world.time.now;
    for (const [name, key] of Object.entries(keys)) {
      for (const content of [`${stamp}.`, `msg_1.${stamp}.`]) {
        const [stripe, standard] = [mac(key, content + forStripe), mac(key, content + forStandard)];
        if (name === 'the whole text' && content === `${stamp}.`) {
          expect(stripe).toEqual(byStripe(forStripe));
          await expect(atStripe(forStripe, stripe)).resolves.toMatchObject({ received: true });
        } else await refused('signature_mismatch', () => atStripe(forStripe, stripe));
        if (name === 'the bytes after the prefix' && content === `msg_1.${stamp}.`) {
          expect(standard).toEqual(byStandard(forStandard));
          await expect(atStandard(forStandard, standard)).resolves.toMatchObject({ received: true });
        } else await refused('signature_mismatch', () => atStandard(forStandard, standard));
      }
    }
  });

  it('answers signatures that differ in the first or the last byte alike', async () => {
    const wrongIn = (signature: Buffer, index: number): Buffer => {
      const wrong = Buffer.from(signature);
      wrong.writeUInt8(wrong.readUInt8(index) ^ 1, index);
      return wrong;
    };
    const answers = [];
    for (const index of [0, 15, 31]) {
      const [stripe, standard] = [payload(), standardPayload()];
      answers.push(
        await refused('signature_mismatch', () => atStripe(stripe, wrongIn(byStripe(stripe), index))),
        await refused('signature_mismatch', () => atStandard(standard, wrongIn(byStandard(standard), index))),
      );
    }
    const seen = answers.map((error) => {
      const { code, status, message, details } = error as Record<string, unknown>;
      return JSON.stringify({ code, status, message, details });
    });
    expect(new Set(seen).size).toBe(1);
  });

  it('refuses a signature for another time, message or body, and an old one', async () => {
    const [stripe, standard] = [payload(), standardPayload()];
    const [ofStripe, ofStandard] = [byStripe(stripe), byStandard(standard)];
    const now = world.time.now;
    const mismatch = (attack: () => Promise<unknown>) => refused('signature_mismatch', attack);
    await mismatch(() => atStripe(stripe, ofStripe, now + 1));
    await mismatch(() => atStandard(standard, ofStandard, now + 1));
    await mismatch(() => atStandard(standard, ofStandard, now, 'msg_2'));
    await mismatch(() => atStripe(stripe.replace('9000', '1'), ofStripe));
    await mismatch(() => atStandard(standard.replace(user, 'another-user'), ofStandard));
    world.time.now += timestampToleranceSeconds + 1;
    await refused('timestamp_out_of_tolerance', () => atStripe(stripe, ofStripe, now));
    await refused('timestamp_out_of_tolerance', () => atStandard(standard, ofStandard, now));
  });

  it.each<[string, () => Promise<unknown>]>([
    ['Stripe', () => atStripe(payload(), byStripe(payload()))],
    ['Standard Webhooks', () => atStandard(standardPayload(), byStandard(standardPayload()))],
  ])('fifty replays of a webhook of %s within the tolerance create one event', async (_, deliver) => {
    await connect(user);
    world.queue.messages.length = 0;
    // Without the queue's deduplication, which lasts only five minutes: each delivery is processed.
    for (let delivery = 0; delivery < 50; delivery++) await deliver();
    const messages = world.queue.messages as PaymentReported[];
    expect(messages).toHaveLength(50);

    await syncBooking(world.deps, messages[0] as PaymentReported);
    const after = await standing();
    for (const message of messages.slice(1)) await syncBooking(world.deps, message);
    expect(await standing()).toEqual(after);
    expect(callsTo('events.insert')).toBe(1);
    expect(standingEvents()).toHaveLength(1);
    expect(world.bus.types()).toEqual(['connection.activated', 'booking.scheduled']);
  });

  it('fifty concurrent replays of a webhook create one event, in any order of processing', async () => {
    await connect(user);
    world.queue.messages.length = 0;
    const [body, signature] = [payload(), byStripe(payload())];
    await Promise.all(Array.from({ length: 50 }, () => atStripe(body, signature)));
    const work = (world.queue.messages as PaymentReported[]).map((message) =>
      syncBooking(world.deps, message),
    );
    await Promise.allSettled(work);
    await syncBooking(world.deps, world.queue.messages[0] as PaymentReported);
    expect(await world.booking(`booking-of-${user}`)).toMatchObject({ status: 'scheduled' });
    expect(standingEvents()).toHaveLength(1);
  });
});
