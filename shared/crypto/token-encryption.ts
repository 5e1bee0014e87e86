import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { type CachedSecret, withSecret } from '../aws/secrets.ts';
import { AppError } from '../lib/app-error.ts';
import type { Keys } from './keys.ts';

/** Google's decrypted tokens of one grant. */
export type Tokens = { accessToken: string; refreshToken: string };

// One form of JWE (RFC 7516), written with Node's own AES: a library's first use of WebCrypto takes 5 ms of a cold start.
// The tests decrypt and encrypt the same tokens with jose.
const cipher = 'aes-256-gcm';
const ivLength = 12;
const tagLength = 16;

/**
 * Encrypts the tokens of a grant as one JWE (dir, A256GCM) with key id and user in its authenticated header. One JWE for
 * both tokens keeps the item below a kilobyte, the unit in which DynamoDB charges.
 */
export async function encryptTokens(
  keys: Keys<'token-encryption'>,
  now: number,
  userId: string,
  { accessToken, refreshToken }: Tokens,
): Promise<{ keyId: string; tokens: string }> {
  const keyId = keys.current(now);
  const header = encode(JSON.stringify({ alg: 'dir', enc: 'A256GCM', kid: keyId, sub: userId }));
  const iv = randomBytes(ivLength);
  const encryptor = createCipheriv(cipher, keys.key(keyId) as Uint8Array, iv, {
    authTagLength: tagLength,
  }).setAAD(Buffer.from(header));
  const clear = JSON.stringify([accessToken, refreshToken]);
  const text = Buffer.concat([encryptor.update(clear, 'utf8'), encryptor.final()]);
  // The second part, an encrypted key, is empty with "dir".
  return { keyId, tokens: [header, '', encode(iv), encode(text), encode(encryptor.getAuthTag())].join('.') };
}

/**
 * Decrypts the tokens of this user.
 * Errors: `token_unreadable` where the key is unknown, the text was changed, or it belongs to another user.
 */
export async function decryptTokens(
  keys: Keys<'token-encryption'>,
  userId: string,
  encrypted: string,
): Promise<Tokens> {
  try {
    const { header, text } = decrypt(keys, encrypted);
    if (header.sub === userId) {
      const [accessToken, refreshToken] = JSON.parse(text) as [string, string];
      return { accessToken, refreshToken };
    }
  } catch (error) {
    throw decryptionFailed(error);
  }
  throw decryptionFailed();
}

/** Decrypts tokens. Reads the keys again where another worker has encrypted with a key that is not known here yet. */
export function decryptStoredTokens(
  deps: { tokenKeys: CachedSecret<Keys<'token-encryption'>> },
  { userId }: { userId: string },
  encrypted: string,
): Promise<Tokens> {
  return withSecret(deps.tokenKeys, ['token_unreadable'], (keys) => decryptTokens(keys, userId, encrypted));
}

/** Throws on any text but a JWE (dir, A256GCM) under a known key. */
function decrypt(
  keys: Keys<'token-encryption'>,
  encrypted: string,
): { header: Record<string, unknown>; text: string } {
  const [first = '', encryptedKey, iv = '', text = '', tag = '', ...rest] = encrypted.split('.');
  const header = JSON.parse(decode(first).toString('utf8')) as Record<string, unknown>;
  if (header.alg !== 'dir' || header.enc !== 'A256GCM' || encryptedKey !== '' || rest.length > 0) {
    throw new Error('not a JWE of ours');
  }
  const key = keys.key(String(header.kid));
  if (!key) throw new Error('unknown key id');
  // Without the length Node would accept a shorter tag, which is easier to guess.
  const decryptor = createDecipheriv(cipher, key, decode(iv), { authTagLength: tagLength })
    .setAAD(Buffer.from(first))
    .setAuthTag(decode(tag));
  // `final` verifies the tag before any of the text is used.
  return {
    header,
    text: Buffer.concat([decryptor.update(decode(text)), decryptor.final()]).toString('utf8'),
  };
}

function encode(value: string | Buffer): string {
  return Buffer.from(value).toString('base64url');
}

function decode(text: string): Buffer {
  return Buffer.from(text, 'base64url');
}

function decryptionFailed(cause?: unknown): AppError {
  return new AppError(
    'token_unreadable',
    'Stored tokens cannot be decrypted: their key was removed from the secret token-encryption, or the item was changed. Restore the key, or let the user connect again.',
    { cause },
  );
}
