/** Signatures, tokens and states as a case describes them, made when they are sent. */
import { createHash, createHmac } from 'node:crypto';
import fc from 'fast-check';
import type { ProviderName } from '../../functions/payment-confirmed/providers.ts';
import { fingerprint } from '../../shared/crypto/fingerprint.ts';
import { type Keys as KeysOf, keyText } from '../../shared/crypto/keys.ts';
import { encryptState } from '../../shared/crypto/oauth-state.ts';
import { audiences } from '../../shared/lib/names.ts';
import { webhooks } from '../fixtures/webhooks.ts';
import { tampered, texts } from './values.ts';

/** Values of the service's secrets. */
export type Keys = {
  /** Of each payment provider. */
  signing: Record<ProviderName, string>;
  tokens: KeysOf<'token-encryption'>;
  states: KeysOf<'state-encryption'>;
  links: KeysOf<'link-signing'>;
  api: KeysOf<'api-signing'>;
  messages: KeysOf<'payment-messages'>;
};

/** Corruption of a text. */
export type Damage = {
  at: number;
  kind: 'cut' | 'insert' | 'drop part' | 'repeat part' | 'other case';
  text: string;
};

const damage: fc.Arbitrary<Damage> = fc.record({
  at: fc.nat(1000),
  kind: fc.constantFrom('cut', 'insert', 'drop part', 'repeat part', 'other case'),
  text: fc.oneof(fc.constantFrom('=', '.', '..', 'é', ' ', '\u0000', ','), texts),
});

function spoil(whole: string, { at, kind, text }: Damage): string {
  const index = at % (whole.length + 1);
  const parts = whole.split('.');
  switch (kind) {
    case 'cut':
      return whole.slice(0, index);
    case 'insert':
      return whole.slice(0, index) + text + whole.slice(index);
    case 'drop part':
      return parts.toSpliced(at % parts.length, 1).join('.');
    case 'repeat part':
      return parts.toSpliced(at % parts.length, 0, parts[at % parts.length] as string).join('.');
    case 'other case':
      return whole.slice(0, index) + whole.slice(index).toUpperCase();
  }
}

// The clock of a token: `@iat` and `@exp` stand for its times, `@kid` for the id of the current key.
export type Token = {
  header: string;
  claims: string;
  /** Seconds from now, and lifetime. */
  issued: number;
  lifetime: number;
  key: 'ours' | 'another' | 'empty' | 'our key id';
  damage?: Damage | undefined;
};

const allUsers = ['ada-user', 'ben-user', 'broken-user', 'gone-user', 'new-user'];

export function tokens(audience: keyof typeof audiences): fc.Arbitrary<Token> {
  const aud = audiences[audience];
  const header = { alg: 'HS256', kid: '@kid' };
  const claims = (sub: string) => ({ sub, aud, iat: '@iat', exp: '@exp' });
  const sound = fc.constantFrom('ada-user', 'ada-user', 'ada-user', ...allUsers).map(
    (sub): Token => ({
      header: JSON.stringify(header),
      claims: JSON.stringify(claims(sub)),
      issued: 0,
      lifetime: 600,
      key: 'ours',
    }),
  );
  const unsound = fc.record({
    header: tampered(
      [
        header,
        { ...header, crit: ['exp'], exp: 1 },
        { ...header, b64: false, crit: ['b64'] },
        { ...header, jwk: { kty: 'oct', k: '' } },
      ],
      ['alg', 'kid', 'crit', 'typ'],
      [
        'none',
        'None',
        'HS256',
        'HS384',
        'HS512',
        'RS256',
        'EdDSA',
        'dir',
        'crit',
        'zip',
        'b64',
        'jku',
        'x5c',
      ],
    ),
    claims: tampered(
      [
        claims('ada-user'),
        { ...claims('ada-user'), aud: [aud, 'other'] },
        { ...claims('ada-user'), nbf: '@exp' },
      ],
      ['sub', 'aud', 'iat', 'exp'],
      ['@iat', '@exp', 'nbf', audiences.api, audiences.connect, 'ada-user', 'a'.repeat(129)],
    ),
    issued: fc.constantFrom(0, 29, 31, -599, -601, -1e6, 1e6, 1e12, -1e12),
    lifetime: fc.constantFrom(600, 601, 1, 0, -1, 1e9, 1e300),
    key: fc.constantFrom('ours', 'another', 'empty', 'our key id') as fc.Arbitrary<Token['key']>,
    damage: fc.option(damage, { nil: undefined }),
  });
  // One fault at a time finds more than all at once.
  const nearlySound = fc
    .tuple(
      sound,
      unsound,
      fc.subarray(['header', 'claims', 'issued', 'lifetime', 'key', 'damage'] as const, {
        minLength: 1,
        maxLength: 2,
      }),
    )
    .map(
      ([good, bad, changed]): Token => ({
        ...good,
        ...Object.fromEntries(changed.map((name) => [name, bad[name]])),
      }),
    );
  return fc.oneof({ weight: 6, arbitrary: sound }, { weight: 3, arbitrary: nearlySound });
}

export function makeToken(token: Token, keys: KeysOf<'link-signing' | 'api-signing'>, now: number): string {
  const kid = keys.current(now);
  const fill = (text: string) =>
    text
      .replaceAll('"@iat"', String(now + token.issued))
      .replaceAll('"@exp"', String(now + token.issued + token.lifetime))
      .replaceAll('@kid', kid);
  const encode = (text: string) => Buffer.from(fill(text)).toString('base64url');
  const signed = `${encode(token.header)}.${encode(token.claims)}`;
  const key = { ours: keyText(keys, kid), another: 'another key', empty: '', 'our key id': kid }[token.key];
  const [, bits = '256'] = /"HS(256|384|512)"/.exec(token.header) ?? [];
  const signature = token.header.includes('"none"')
    ? ''
    : createHmac(`sha${bits}`, key).update(signed).digest('base64url');
  const whole = `${signed}.${signature}`;
  return token.damage ? spoil(whole, token.damage) : whole;
}

/** Headers of a webhook: entries joined to a list, with `@` for a valid signature. */
export type Signing = {
  secret: 'ours' | 'another';
  skew: number;
  stamp: string;
  entries: string[];
  id: string;
};

const entry = (own: string, wrong: string[]): fc.Arbitrary<string[]> =>
  fc.oneof(
    { weight: 12, arbitrary: fc.constant<string[]>([own]) },
    {
      weight: 3,
      arbitrary: fc.array(fc.oneof(fc.constantFrom(own, own, ...wrong), texts), { maxLength: 6 }),
    },
    {
      weight: 1,
      arbitrary: fc
        .constantFrom(50, 2000)
        .map((count) => [...Array<string>(count).fill(wrong[0] as string), own]),
    },
  );

export const signings = (own: string, wrong: string[]): fc.Arbitrary<Signing> =>
  fc.record({
    secret: fc.constantFrom(...Array<'ours'>(15).fill('ours'), 'another'),
    skew: fc.constantFrom(...Array<number>(20).fill(0), 299, -299, 301, -302, 1e9, -1e9),
    // `@` is the signed time.
    stamp: fc.oneof(
      { weight: 20, arbitrary: fc.constant('@') },
      {
        weight: 1,
        arbitrary: fc.constantFrom(
          '',
          '0',
          '+@',
          '@.0',
          ' @',
          '0x10',
          '1e9',
          '١٧٩٠٠٠٠٠٠٠',
          '9'.repeat(13),
          '9'.repeat(400),
          '-1',
        ),
      },
    ),
    entries: entry(own, wrong),
    id: fc.oneof({ weight: 15, arbitrary: fc.constant('msg_1') }, { weight: 3, arbitrary: texts }),
  });

/** The headers of a signing, as its provider sends them. */
export function signatureHeaders(
  signing: Signing & { provider: ProviderName },
  body: Buffer,
  keys: Keys,
  now: number,
): [string, string][] {
  const { provider, secret, skew, stamp, entries, id } = signing;
  const time = String(now + skew);
  const { sign, headers } = webhooks[provider];
  const signature = sign(body, secret === 'ours' ? keys.signing[provider] : 'whsec_another', time, id);
  const signed = entries.map((each) => each.replaceAll('@', signature));
  return headers({ id, stamp: stamp.replace('@', time), entries: signed });
}

/** The state of an attempt that `browser` began. */
export type State = {
  userId: string;
  link: string;
  expires: number;
  returnTo?: string | undefined;
  damage?: Damage | undefined;
};

/** Present in every attempt of the fuzzer, so a case need not contain it. */
export const attempt = { verifier: 'v'.repeat(43), nonce: 'n'.repeat(43), browser: 'b'.repeat(43) };
export const challenge = createHash('sha256').update(attempt.verifier).digest('base64url');
/** The link with which the connection of ada-user was made. */
export const usedLink = 'used-link';

export const soundStates: fc.Arbitrary<State> = fc.record({
  userId: fc.constantFrom(...allUsers),
  link: fc.constantFrom('link-1', 'link-1', 'link-1', usedLink),
  expires: fc.constantFrom(600, 600, 600, 1, -1, -1e6),
  returnTo: fc.constantFrom(undefined, undefined, 'https://app.example.com/done?x=1#top'),
});

export const states: fc.Arbitrary<State> = fc.oneof(
  { weight: 6, arbitrary: soundStates },
  {
    weight: 2,
    arbitrary: fc.tuple(soundStates, damage).map(([state, spoilt]) => ({ ...state, damage: spoilt })),
  },
);

export async function makeState(
  { userId, link, expires, returnTo, damage }: State,
  { states }: Keys,
  now: number,
): Promise<string> {
  const { verifier, nonce, browser } = attempt;
  const state = {
    userId,
    linkTokenHash: link,
    verifier,
    nonce,
    browserSecretHash: fingerprint(browser),
    ...(returnTo === undefined ? {} : { returnTo }),
  };
  const sealed = await encryptState(states, state, now, now + expires);
  return damage ? spoil(sealed, damage) : sealed;
}
