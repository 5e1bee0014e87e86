import { createSecretKey, randomBytes } from 'node:crypto';
import { CompactEncrypt, compactDecrypt, SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { type Keys, keyText, parseKeys } from '../../shared/crypto/keys.ts';
import { decryptState, encryptState, stateLifetimeSeconds } from '../../shared/crypto/oauth-state.ts';
import { decryptTokens, encryptTokens } from '../../shared/crypto/token-encryption.ts';
import { signUserToken, verifyUserToken } from '../../shared/crypto/user-token.ts';
import { audiences, type KeyPurpose, keySecrets } from '../../shared/lib/names.ts';
import { otherSpellings, withEachCharacterChanged } from '../support/spellings.ts';

const now = 1_790_000_000;
const master = (seed: string) => seed.repeat(64).slice(0, 64);
const purposes = Object.keys(keySecrets) as KeyPurpose[];
/** Keys of one purpose before, during and after a rotation. */
function rotation<Purpose extends KeyPurpose>(purpose: Purpose) {
  return {
    before: parseKeys(purpose, JSON.stringify({ current: 'old', old: master('o') })),
    rotated: parseKeys(purpose, JSON.stringify({ current: 'new', old: master('o'), new: master('n') })),
    after: parseKeys(purpose, JSON.stringify({ current: 'new', new: master('n') })),
  };
}
const coded = (code: string) => expect.objectContaining({ code });

describe.each(purposes)('the secret %s', (purpose) => {
  it.each([
    ['text', 'nonsense'],
    ['a list', '[]'],
    ['no current key', '{"a":"x"}'],
    ['a current key that does not exist', JSON.stringify({ current: 'b', a: master('a') })],
    ['a short key', '{"current":"a","a":"short"}'],
    ['a prototype name as current', '{"current":"constructor"}'],
    [
      'the keys of another purpose',
      JSON.stringify({
        purpose: purposes.find((other) => other !== purpose),
        current: 'a',
        a: master('a'),
      }),
    ],
  ])('refuses a secret that holds %s, without quoting it', (_, text) => {
    expect(() => parseKeys(purpose, text)).toThrow(coded('not_configured'));
    expect(() => parseKeys(purpose, text)).toThrow(`The secret ${purpose} cannot be used.`);
    expect(() => parseKeys(purpose, text)).not.toThrow(/nonsense|short"/);
  });

  it('a secret may name its purpose, and returns no other field as a key', () => {
    const keys = parseKeys(purpose, JSON.stringify({ purpose, current: 'a', a: master('a') }));
    expect(keys.ids).toEqual(['a']);
    for (const id of ['constructor', 'purpose', 'current', '']) expect(keys.key(id)).toBeUndefined();
  });

  it('names a key that is too short by its id', () => {
    const text = JSON.stringify({ current: 'a', a: master('a'), 'second key': 'short' });
    expect(() => parseKeys(purpose, text)).toThrow('The key "second key" must be');
  });
});

it('one string in several secrets gives each purpose another key', () => {
  const keys = purposes.flatMap((purpose) =>
    ['old', 'new'].map((id) => Buffer.from(rotation(purpose).rotated.key(id) as Uint8Array).toString('hex')),
  );
  expect(new Set(keys).size).toBe(2 * purposes.length);
});

describe('token vault', () => {
  const { before, rotated, after } = rotation('token-encryption');
  const tokens = { accessToken: 'ya29.access', refreshToken: '1//refresh' };
  const seal = async (keys: Keys<'token-encryption'>, clear = tokens): Promise<string> =>
    (await encryptTokens(keys, now, 'ada', clear)).tokens;

  it('decrypts the tokens that it encrypted, and never shows them in clear', async () => {
    const canaries = { accessToken: 'ya29.canary', refreshToken: '1//canary' };
    const sealed = await seal(before, canaries);
    expect(sealed).not.toContain('canary');
    expect(await decryptTokens(before, 'ada', sealed)).toEqual(canaries);
  });

  it('encrypts with the current key and decrypts with any, so rotation needs no downtime', async () => {
    const sealed = await seal(before);
    expect(await decryptTokens(rotated, 'ada', sealed)).toEqual(tokens);
    const reencrypted = await encryptTokens(rotated, now, 'ada', tokens);
    expect(reencrypted.keyId).toBe('new');
    expect(await decryptTokens(after, 'ada', reencrypted.tokens)).toEqual(tokens);
    await expect(decryptTokens(after, 'ada', sealed)).rejects.toThrow(coded('token_unreadable'));
  });

  it('does not decrypt tokens that were copied to another user', async () => {
    await expect(decryptTokens(before, 'grace', await seal(before))).rejects.toThrow(
      coded('token_unreadable'),
    );
  });

  it('does not decrypt tokens whose header was changed to another user', async () => {
    const sealed = await seal(before);
    const [header = '', ...rest] = sealed.split('.');
    const forged = Buffer.from(Buffer.from(header, 'base64url').toString().replace('ada', 'eve')).toString(
      'base64url',
    );
    await expect(decryptTokens(before, 'eve', [forged, ...rest].join('.'))).rejects.toThrow(
      coded('token_unreadable'),
    );
  });

  it('encrypts and decrypts compatibly with another JWE library', async () => {
    const key = before.key('old') as Uint8Array;
    const header = { alg: 'dir', enc: 'A256GCM', kid: 'old', sub: 'ada' };
    const greetings = { accessToken: 'Grüße', refreshToken: 'Grüße zurück' };
    const clear = JSON.stringify(Object.values(greetings));
    const { plaintext, protectedHeader } = await compactDecrypt(await seal(before, greetings), key);
    expect([new TextDecoder().decode(plaintext), protectedHeader]).toEqual([clear, header]);
    const foreign = new CompactEncrypt(new TextEncoder().encode(clear)).setProtectedHeader(header);
    expect(await decryptTokens(before, 'ada', await foreign.encrypt(key))).toEqual(greetings);
  });

  it('encrypts the same tokens differently each time', async () => {
    const sealed = Array.from({ length: 20 }, () => seal(before));
    expect(new Set(await Promise.all(sealed)).size).toBe(20);
  });

  it('does not decrypt tokens with a changed part or a shortened tag', async () => {
    const sealed = (await seal(before)).split('.');
    const [, , iv = '', text = '', tag = ''] = sealed;
    const changed = (part: string) => (part.startsWith('A') ? 'B' : 'A') + part.slice(1);
    const forgeries = [
      sealed.with(1, 'AAAA'),
      sealed.with(2, changed(iv)),
      sealed.with(3, changed(text)),
      sealed.with(3, ''),
      sealed.with(4, changed(tag)),
      sealed.with(4, Buffer.from(tag, 'base64url').subarray(0, 4).toString('base64url')),
      sealed.with(4, ''),
      [...sealed, ''],
    ];
    for (const forged of forgeries) {
      await expect(decryptTokens(before, 'ada', forged.join('.'))).rejects.toThrow(coded('token_unreadable'));
    }
  });

  it.each(['', 'abc', 'a.b.c.d.e', 'a..b.c.d'])(
    'fails with a clear error on the stored tokens %j',
    async (text) => {
      await expect(decryptTokens(before, 'ada', text)).rejects.toThrow(coded('token_unreadable'));
    },
  );
});

describe('user tokens', () => {
  const { before, rotated, after } = rotation('link-signing');
  const check = { audience: audiences.connect, now };
  const sign = (change: Partial<Parameters<typeof signUserToken>[1]> = {}) =>
    signUserToken(before, { userId: 'ada', audience: audiences.connect, now, ...change });
  /** As another backend would: any library, no key id. */
  const foreign = (
    claims: Record<string, unknown>,
    key: string | Uint8Array = keyText(before, 'old'),
    alg = 'HS256',
  ) =>
    new SignJWT(claims)
      .setProtectedHeader({ alg })
      .sign(typeof key === 'string' ? new TextEncoder().encode(key) : key);
  const claims = { sub: 'ada', aud: audiences.connect, iat: now, exp: now + 600 };

  it('a valid user token names its user', async () => {
    expect(await verifyUserToken(before, await sign(), check)).toMatchObject({ userId: 'ada' });
  });

  it('rejects every other spelling of a valid user token', async () => {
    // Both lengths of the unused bits: HS256 leaves two in the signature; header and claims depend on their text.
    for (const userId of ['a', 'ad', 'ada']) {
      const token = await sign({ userId });
      const spellings = otherSpellings(token);
      expect(spellings.length).toBeGreaterThan(token.length);
      for (const spelling of spellings) {
        await expect(verifyUserToken(before, spelling, check), JSON.stringify(spelling)).rejects.toThrow(
          coded('token_invalid'),
        );
      }
    }
  });

  it('rejects a user token with any character changed', async () => {
    for (const changed of withEachCharacterChanged(await sign())) {
      await expect(verifyUserToken(before, changed, check), changed).rejects.toThrow(coded('token_invalid'));
    }
  });

  it('equal user tokens have equal fingerprints, and different ones different fingerprints', async () => {
    const fingerprints = await Promise.all(
      [await sign(), await sign(), await sign({ lifetime: 599 })].map(
        async (token) => (await verifyUserToken(before, token, check)).fingerprint,
      ),
    );
    expect(fingerprints[1]).toBe(fingerprints[0]);
    expect(fingerprints[2]).not.toBe(fingerprints[0]);
  });

  it('accepts a user token that another JWT library signed with the link-signing key', async () => {
    expect(await verifyUserToken(rotated, await foreign(claims), check)).toMatchObject({ userId: 'ada' });
  });

  it('a user token is valid for at most ten minutes, regardless of its exp', async () => {
    const token = await sign();
    expect(await verifyUserToken(before, token, { ...check, now: now + 600 })).toMatchObject({
      userId: 'ada',
    });
    await expect(verifyUserToken(before, token, { ...check, now: now + 700 })).rejects.toThrow(
      coded('token_expired'),
    );
    await expect(verifyUserToken(before, await sign({ lifetime: 601 }), check)).rejects.toThrow(
      coded('token_invalid'),
    );
  });

  it('rejects a user token whose key was retired', async () => {
    await expect(verifyUserToken(after, await sign(), check)).rejects.toThrow(coded('token_invalid'));
  });

  it.each([
    ['for another purpose', () => sign({ audience: audiences.api })],
    ['from the future', () => sign({ now: now + 300 })],
    ['of no user', () => sign({ userId: '' })],
    ['of a user with a strange id', () => sign({ userId: 'a b' })],
    ['without an expiry', () => foreign({ ...claims, exp: undefined })],
    ['without an issue time', () => foreign({ ...claims, iat: undefined })],
    ['signed with another key', () => foreign(claims, randomBytes(32))],
    [
      'signed with another algorithm',
      () => foreign(claims, createSecretKey(randomBytes(64)).export(), 'HS512'),
    ],
    [
      'that is not signed',
      async () =>
        `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.`,
    ],
    ['that is no token', async () => 'abc'],
    ['that is empty', async () => ''],
    [
      'with a key id that does not exist',
      async () =>
        new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: 'constructor' }).sign(randomBytes(32)),
    ],
  ])('rejects a user token %s', async (_, make) => {
    await expect(verifyUserToken(rotated, await make(), check)).rejects.toThrow(
      expect.objectContaining({ code: 'token_invalid', status: 401 }),
    );
  });
});

describe('OAuth state', () => {
  const { before, rotated } = rotation('state-encryption');
  const tokenKeys = rotation('token-encryption').before;
  const state = {
    userId: 'ada',
    linkTokenHash: 'l',
    verifier: 'v'.repeat(43),
    nonce: 'n',
    browserSecretHash: 'b',
  };

  it('decrypts an OAuth state that is unreadable in between', async () => {
    const sealed = await encryptState(before, state, now, now + stateLifetimeSeconds);
    expect(Buffer.from(sealed).toString('latin1')).not.toContain('vvvv');
    expect(await decryptState(rotated, sealed, now + stateLifetimeSeconds - 1)).toMatchObject(state);
  });

  it('rejects an expired OAuth state', async () => {
    const sealed = await encryptState(before, state, now, now + stateLifetimeSeconds);
    await expect(decryptState(before, sealed, now + stateLifetimeSeconds + 1)).rejects.toThrow(
      coded('state_expired'),
    );
  });

  it('rejects an OAuth state with any character changed', async () => {
    const sealed = await encryptState(before, state, now, now + stateLifetimeSeconds);
    for (const changed of withEachCharacterChanged(sealed)) {
      await expect(decryptState(before, changed, now), changed).rejects.toThrow(coded('state_invalid'));
    }
  });

  it('rejects every other spelling of an OAuth state', async () => {
    for (const userId of ['a', 'ad', 'ada']) {
      const sealed = await encryptState(before, { ...state, userId }, now, now + stateLifetimeSeconds);
      for (const spelling of otherSpellings(sealed)) {
        await expect(decryptState(before, spelling, now), JSON.stringify(spelling)).rejects.toThrow(
          coded('state_invalid'),
        );
      }
    }
  });

  it('rejects an OAuth state that was encrypted with a token key', async () => {
    const forged = await new CompactEncrypt(
      new TextEncoder().encode(JSON.stringify({ ...state, exp: now + 60 })),
    )
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: 'old' })
      .encrypt(tokenKeys.key('old') as Uint8Array);
    await expect(decryptState(before, forged, now)).rejects.toThrow(coded('state_invalid'));
  });
});
