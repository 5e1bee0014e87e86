import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

/** Comparisons by operators and methods that stop at the first difference, except with literals. */
function comparisons(source: string): string[] {
  const literal = /(?!['"`\d-]|undefined|null|true|false)/.source;
  const operator = new RegExp(String.raw`([\w$.?()[\]]+)\s*[!=]==?\s*${literal}([\w$.?]+)`, 'g');
  const method =
    /([\w$.?()[\]]+)\.(equals|compare|includes|indexOf|localeCompare|startsWith|endsWith)\(([\w$.?]+)/g;
  return [
    ...[...source.matchAll(operator)].map(([, one, other]) => `${one} === ${other}`),
    ...[...source.matchAll(method)].map(([, one, name, other]) => `${one}.${name}(${other})`),
  ];
}
const secret =
  /secret|signature|signed|hmac|mac\b|digest|hash|nonce|verifier|fingerprint|\blink\b|cookie|browser|token(?!Version)|password|expected|\bkey\b|sealed/i;

/** Comparisons of values with secret-like names, each with the reason why its time may depend on them. */
const harmless: Record<string, string> = {
  // Only a holder of the key can make a state with a link, so neither side is a guess.
  'link === state.linkTokenHash': 'functions/oauth-callback/complete-connection.ts',
  // Hashes of calendar ids: no caller sends one, both sides come from the table and from Google.
  'hash === hashOf': 'shared/connection/connection.ts',
  // The Google account of an event: both sides are derived from the table.
  'accountFingerprint(now) === accountFingerprint': 'functions/booking-sync/session.ts',
  'place.account === accountFingerprint': 'shared/booking/former-account.ts',
  // What two bus events say.
  '(said.key === last?.key': 'shared/booking/status.ts',
  'published?.key === withMeet': 'shared/booking/status.ts',
  // The length of a MAC is public. timingSafeEqual compares its content.
  'it.length === expected.length': 'functions/payment-confirmed/signature.ts',
};

describe('comparison of secrets', () => {
  const root = join(import.meta.dirname, '../..');
  const files = ['functions', 'shared'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => `${folder}/${name}`),
  );
  const found = files.flatMap((file) =>
    comparisons(readFileSync(join(root, file), 'utf8')).map((comparison) => ({ file, comparison })),
  );

  it('no code compares secrets except in constant time', () => {
    expect(files.length).toBeGreaterThan(60);
    expect(found.length).toBeGreaterThan(50);
    const suspicious = found.filter(({ comparison }) => secret.test(comparison));
    expect(Object.fromEntries(suspicious.map(({ file, comparison }) => [comparison, file]))).toEqual(
      harmless,
    );
  });

  it('compares signatures, nonces and cookies in constant time', () => {
    const using = files.filter((file) =>
      /\b(timingSafeEqual|constantTimeEqual)\(/.test(readFileSync(join(root, file), 'utf8')),
    );
    expect(using).toEqual([
      'functions/oauth-callback/complete-connection.ts',
      'functions/payment-confirmed/signature.ts',
      'shared/crypto/oauth-state.ts',
      'shared/crypto/payment-mac.ts',
    ]);
  });

  it.each([
    'if (signature === expected) return;',
    'return it.equals(expectedSignature)',
    'if (fingerprint(browser) !== state.browser) throw wrongBrowser();',
    'identity.nonce == state.nonce',
    'signatures.includes(expected)',
  ])('notices a comparison that is not constant in time: %s', (line) => {
    expect(comparisons(line).some((each) => secret.test(each))).toBe(true);
  });
});
