import { CompactEncrypt, compactDecrypt } from 'jose';
import { AppError } from './app-error.ts';
import type { TokenKeys } from './token-keys.ts';

/** What a sealed token is; bound into it, so that one kind cannot be passed off as the other. */
export type TokenKind = 'access' | 'refresh';

/** Seals a token of Google's as a JWE (dir, A256GCM) with key id, user and kind as authenticated header. */
export async function sealToken(
  keys: TokenKeys,
  now: number,
  userId: string,
  kind: TokenKind,
  token: string,
): Promise<string> {
  const kid = keys.current(now);
  return new CompactEncrypt(new TextEncoder().encode(token))
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid, sub: userId, kind })
    .encrypt(keys.key(kid, 'token') as Uint8Array);
}

/** Seals both tokens of a connection, and says with which key. */
export async function sealTokens(
  keys: TokenKeys,
  now: number,
  userId: string,
  tokens: { accessToken: string; refreshToken: string },
): Promise<{ keyId: string; accessToken: string; refreshToken: string }> {
  const [accessToken, refreshToken] = await Promise.all([
    sealToken(keys, now, userId, 'access', tokens.accessToken),
    sealToken(keys, now, userId, 'refresh', tokens.refreshToken),
  ]);
  return { keyId: keys.current(now), accessToken, refreshToken };
}

/**
 * Opens a sealed token of this user and kind.
 * Errors: `token_unreadable` where the key is unknown, the text was changed, or it belongs to another user.
 */
export async function openToken(
  keys: TokenKeys,
  userId: string,
  kind: TokenKind,
  sealed: string,
): Promise<string> {
  try {
    const { plaintext, protectedHeader } = await compactDecrypt(
      sealed,
      ({ kid }) => keys.key(kid ?? '', 'token') ?? Promise.reject(new Error('unknown key id')),
      { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: ['A256GCM'] },
    );
    if (protectedHeader.sub === userId && protectedHeader.kind === kind) {
      return new TextDecoder().decode(plaintext);
    }
  } catch (error) {
    throw unreadable(error);
  }
  throw unreadable();
}

function unreadable(cause?: unknown): AppError {
  return new AppError(
    'token_unreadable',
    'A stored token cannot be opened: its key was removed from the secret token-keys, or the row was changed.',
    { cause },
  );
}
