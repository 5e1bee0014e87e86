/** Secrets as consoles, shells and editors save them. */
import { beforeEach, describe, expect, it } from 'vitest';
import { providers } from '../../functions/payment-confirmed/providers.ts';
import { parseWebhookSecrets } from '../../functions/payment-confirmed/webhook-secrets.ts';
import { secret, secretTtlSeconds } from '../../shared/aws/secrets.ts';
import { parseKeys } from '../../shared/crypto/keys.ts';
import { parseGoogleClient } from '../../shared/google/client-secret.ts';
import { type KeyPurpose, keySecrets } from '../../shared/lib/names.ts';
import { parseStripeKeys } from '../../shared/payments/stripe/api-keys.ts';
import { logged } from '../support/setup.ts';

const stripe = 'whsec_of_stripe_0123456789abcdef';
const standard = `whsec_${Buffer.from('a standard secret of 32 bytes...').toString('base64')}`;
const apiKey = 'rk_test_0123456789abcdef';
const webhookSigning = { stripe: [stripe], standard: [standard] };
const noWebhookSecrets = Object.fromEntries(providers.map(({ name }) => [name, []]));
const parsedWebhookSigning = { ...noWebhookSecrets, ...webhookSigning };
const stripeApi = { keys: [apiKey, 'rk_live_0123456789abcdef'] };
const client = { client_id: 'id.apps.example.com', client_secret: 'GOCSPX-canary-secret' };
const master = 'canary'.padEnd(64, 'x');
const keyPurposes = Object.keys(keySecrets) as KeyPurpose[];
const notConfigured = expect.objectContaining({ code: 'not_configured' });
const operatorErrors = () => logged.map((line) => JSON.parse(line)).filter((line) => 'OperatorError' in line);

/** Harmless changes to a valid value. */
const harmless: [string, (json: string) => string][] = [
  ['nothing', (json) => json],
  ['a byte order mark', (json) => `\ufeff${json}`],
  ['a newline at its end', (json) => `${json}\n`],
  ['CRLF at its end', (json) => `${json}\r\n`],
  ['a byte order mark and blanks around it', (json) => `\ufeff \t\r\n${json} \r\n`],
  ['indentation with CRLF', (json) => JSON.stringify(JSON.parse(json), null, 2).replaceAll('\n', '\r\n')],
  ['an encoding as text within JSON', (json) => JSON.stringify(json)],
  ['an encoding as text within JSON after a byte order mark', (json) => `\ufeff${JSON.stringify(json)}\n`],
  ['an extra key', (json) => JSON.stringify({ ...JSON.parse(json), comment: 'of 2026' })],
];

/** Changes that make a valid value unreadable, with the expected error. */
const harmful: [string, (json: string) => string, RegExp][] = [
  ['single quotes around it', (json) => `'${json}'`, /quotation mark, which its shell/],
  ['typographic quotes', (json) => json.replaceAll('"', '“'), /typographic/],
  ['backslashes before its quotes', (json) => json.replaceAll('"', '\\"'), /backslashes/],
  ['UTF-16', (json) => [...json].join('\0'), /UTF-16/],
  ['a cut at its end', (json) => json.slice(0, -2), /JSON object/],
  ['lost quotes', (json) => json.replaceAll('"', ''), /JSON object/],
  ['a list around it', (json) => `[${json}]`, /JSON object/],
  ['base64', (json) => Buffer.from(json).toString('base64'), /JSON object/],
  ['two encodings too many', (json) => JSON.stringify(JSON.stringify(json)), /JSON object/],
  ['the bare secret instead', () => stripe, /JSON object/],
  ['nothing left', () => ' ', /JSON object/],
  ['null', () => 'null', /JSON object/],
];

beforeEach(() => {
  logged.length = 0;
});

describe.each<[string, (value: string) => unknown, object, object]>([
  ['webhook-signing', parseWebhookSecrets, webhookSigning, parsedWebhookSigning],
  ['stripe-api', parseStripeKeys, stripeApi, { test: apiKey, live: 'rk_live_0123456789abcdef' }],
  [
    'google-oauth-client',
    parseGoogleClient,
    { web: client },
    { clientId: client.client_id, clientSecret: client.client_secret },
  ],
  ...keyPurposes.map((purpose): [string, (value: string) => unknown, object, object] => [
    purpose,
    (value) => parseKeys(purpose, value, () => {}).ids,
    { purpose, current: 'a', a: master },
    ['a'],
  ]),
])('the secret %s', (name, parse, right, parsed) => {
  it.each(harmless)('accepts a secret with %s', (_, change) => {
    expect(parse(change(JSON.stringify(right)))).toEqual(parsed);
    expect(operatorErrors()).toEqual([]);
  });

  it.each(harmful)('rejects a secret with its name and the reason, unquoted: %s', (_, change, reason) => {
    const parseChanged = () => parse(change(JSON.stringify(right)));
    expect(parseChanged).toThrow(notConfigured);
    expect(parseChanged).toThrow(name);
    expect(parseChanged).toThrow(reason);
    expect(parseChanged).not.toThrow(/0123456789|canary/);
  });
});

describe('the keys of stripe-api', () => {
  it.each([{}, { keys: [] }])('may have no key: %j', (value) => {
    expect(parseStripeKeys(JSON.stringify(value))).toEqual({});
  });

  it('takes a key alone, with blanks around it', () => {
    expect(parseStripeKeys(JSON.stringify({ keys: ` ${apiKey}\n` }))).toEqual({ test: apiKey });
  });

  it.each<[string, unknown[], string]>([
    ['a publishable key', ['pk_test_0123456789'], '"keys"[0] must begin with'],
    ['a number', [apiKey, 7], '"keys"[1] must begin with'],
    ['an empty text', [''], '"keys"[0] must begin with'],
    ['two keys of a mode', [apiKey, 'sk_test_0123456789abcdef'], 'two keys of test mode'],
  ])('refuses %s, unquoted', (_, keys, reason) => {
    const parse = () => parseStripeKeys(JSON.stringify({ keys }));
    expect(parse).toThrow(notConfigured);
    expect(parse).toThrow(reason);
    expect(parse).not.toThrow(/0123456789/);
  });
});

describe('an entry of webhook-signing', () => {
  it.each([
    ['an empty list', { standard: [] }],
    ['a list of an empty text', { standard: [''] }],
    ['a list of null', { standard: [null] }],
    ['an empty text for a list', { standard: '' }],
  ])('an optional entry of webhook-signing may be empty: %s', (_, change) => {
    expect(parseWebhookSecrets(JSON.stringify({ stripe: [stripe], ...change }))).toEqual({
      ...noWebhookSecrets,
      stripe: [stripe],
    });
    expect(operatorErrors()).toEqual([]);
  });

  it.each([
    ['a text alone', stripe],
    ['blanks around it', [` ${stripe}\n`]],
    ['an empty text beside it', ['', stripe]],
  ])('accepts an entry of webhook-signing as %s', (_, value) => {
    expect(parseWebhookSecrets(JSON.stringify({ stripe: value })).stripe).toEqual([stripe]);
    expect(operatorErrors()).toEqual([]);
  });

  it.each<[string, object, string]>([
    ['an API key in a list', { stripe: [stripe, 'sk_live_0123456789'] }, '"stripe"[1] must be whsec_'],
    ['a short secret', { standard: ['whsec_short'] }, '"standard"[0] must be whsec_'],
    ['no base64', { standard: ['whsec_not-base64-but-long-enough'] }, '"standard"[0] must be whsec_'],
    ['an invisible character', { stripe: [`${stripe}\u200b`, stripe] }, '"stripe"[0] must be whsec_'],
    ['a secret in quotes', { stripe: [`"${stripe}"`, stripe] }, '"stripe"[0] must be whsec_'],
    ['an object for a list', { standard: { first: standard } }, '"standard" must be whsec_'],
  ])(
    'reports an unusable entry of webhook-signing, unquoted, and keeps the others: %s',
    (_, change, reported) => {
      const { stripe: usable } = parseWebhookSecrets(JSON.stringify({ stripe: [stripe], ...change }));
      expect(usable).toEqual([stripe]);
      expect(operatorErrors()).toHaveLength(1);
      const line = logged.map((text) => JSON.parse(text)).find(({ level }) => level === 'ERROR');
      expect(line.error.message).toContain(reported);
      expect(logged.join()).not.toMatch(/0123456789|not-base64|first/);
    },
  );

  it.each([
    ['{}', 'no signing secret'],
    ['{"stripe":[],"standard":[]}', 'no signing secret'],
    ['{"stripe":["sk_live_0123456789"]}', '"stripe"[0] must be whsec_'],
    ['{"keys":["rk_test_0123456789"]}', 'no signing secret'],
  ])('webhook-signing must have at least one signing secret: %s', (secret, reason) => {
    expect(() => parseWebhookSecrets(secret)).toThrow(notConfigured);
    expect(() => parseWebhookSecrets(secret)).toThrow(reason);
    expect(() => parseWebhookSecrets(secret)).not.toThrow(/0123456789/);
  });
});

describe('an entry of google-oauth-client', () => {
  it.each([
    ['{}', '"web" must be an object'],
    [JSON.stringify({ installed: client }), 'installed application'],
    [JSON.stringify({ web: JSON.stringify(client) }), '"web" must be an object'],
    [JSON.stringify({ web: { ...client, client_id: '' } }), '"web.client_id"'],
    [JSON.stringify({ web: { client_id: client.client_id } }), '"web.client_secret"'],
    [JSON.stringify({ web: { ...client, client_secret: 7 } }), '"web.client_secret"'],
  ])('names an invalid entry of google-oauth-client, unquoted: %s', (secret, reason) => {
    expect(() => parseGoogleClient(secret)).toThrow(notConfigured);
    expect(() => parseGoogleClient(secret)).toThrow(reason);
    expect(() => parseGoogleClient(secret)).not.toThrow(/canary/);
  });
});

describe('a secret that was read before', () => {
  const readTwice = async (second: () => string) => {
    const right = JSON.stringify(webhookSigning);
    const reads = [() => right, second];
    let now = 0;
    const kept = secret(
      'id-of-the-secret',
      parseWebhookSecrets,
      () => now,
      async () => (reads.shift() as () => string)(),
    );
    await kept.get();
    now += secretTtlSeconds;
    return kept.get();
  };

  it('keeps the last valid secret when it becomes malformed, and raises an alarm', async () => {
    expect(await readTwice(() => '{')).toEqual(parsedWebhookSigning);
    expect(operatorErrors()).toHaveLength(1);
  });

  it('keeps the last valid secret without an alarm while Secrets Manager is unavailable', async () => {
    const unavailable = () => {
      throw new Error('unavailable');
    };
    expect(await readTwice(unavailable)).toEqual(parsedWebhookSigning);
    expect(operatorErrors()).toEqual([]);
  });
});

describe('a secret with keys', () => {
  const parse = (value: object) => {
    const reported: string[] = [];
    const keys = parseKeys('token-encryption', JSON.stringify(value), ({ message }) =>
      reported.push(message),
    );
    return { keys, reported };
  };

  it.each([
    ['an old key that is empty', { current: 'a', a: master, old: '' }, 'The key "old"'],
    ['an old key that is too short', { current: 'a', a: master, old: 'short' }, 'The key "old"'],
    ['an old key that is not text', { current: 'a', a: master, old: null }, 'The key "old"'],
    ['a next key that does not exist', { current: 'a', a: master, next: { id: 'b', from: 1 } }, '"next"'],
    ['a next key without a time', { current: 'a', a: master, b: master, next: { id: 'b' } }, '"next"'],
    ['a next key that is not an object', { current: 'a', a: master, next: 'b' }, '"next"'],
  ])('a secret with keys works with its current key and reports %s', (_, value, reason) => {
    const { keys, reported } = parse(value);
    expect(keys.current(2_000_000_000)).toBe('a');
    expect(keys.key('a')).toBeDefined();
    expect(keys.ids).not.toContain('old');
    expect(reported).toEqual([expect.stringContaining(reason)]);
    expect(reported.join()).not.toContain('canary');
  });

  it('refuses a secret whose current key is unusable', () => {
    expect(() => parse({ current: 'a', a: 'short', old: master })).toThrow(notConfigured);
  });
});
