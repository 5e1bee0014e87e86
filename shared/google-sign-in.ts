import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey, jwtVerify } from 'jose';
import { AppError } from './app-error.ts';
import { systemMilliseconds } from './clock.ts';
import type { GoogleEndpoints } from './config.ts';
import type { GoogleClient } from './google-client-secret.ts';
import {
  type GoogleIdentity,
  type GoogleOAuth,
  googleTokens,
  requestTokens,
  tokenTimeout,
} from './google-oauth.ts';
import { lightFetch } from './light-fetch.ts';

/** Google's token endpoint with all that a consent needs. Only the callback does: it is jose that others do without. */
export function googleOAuth(endpoints: GoogleEndpoints): GoogleOAuth {
  const signingKey = googleSigningKey(endpoints.signingKeys);
  return {
    ...googleTokens(endpoints),
    async exchangeCode(client, { code, verifier, redirectUri }) {
      const { granted, idToken } = await requestTokens(endpoints, client, {
        grant_type: 'authorization_code',
        code,
        code_verifier: verifier,
        redirect_uri: redirectUri,
      });
      return { ...granted, identity: await verifyIdentity(signingKey, client, idToken) };
    },
  };
}

/** Google writes its name in both ways. */
const issuers = ['https://accounts.google.com', 'accounts.google.com'];
/** Seconds by which Google's clock may differ from ours. */
const clockTolerance = 300;
/** Seconds: Google's id tokens live for an hour, and this one was made a moment ago. */
const oldestIdToken = 3600;

/** Signature, issuer, audience and times are checked here; the nonce by who knows it. */
async function verifyIdentity(
  signingKey: JWTVerifyGetKey,
  client: GoogleClient,
  idToken: unknown,
): Promise<GoogleIdentity> {
  try {
    const { payload } = await jwtVerify(String(idToken), signingKey, {
      algorithms: ['RS256'],
      issuer: issuers,
      audience: client.clientId,
      clockTolerance,
      maxTokenAge: oldestIdToken,
      requiredClaims: ['sub', 'exp'],
    });
    const { sub, email, nonce } = payload;
    if (typeof sub === 'string' && sub) {
      return {
        sub,
        email: typeof email === 'string' ? email : '',
        ...(typeof nonce === 'string' ? { nonce } : {}),
      };
    }
  } catch (error) {
    throw idTokenInvalid(error);
  }
  throw idTokenInvalid();
}

/**
 * Finds the key that signed a token among those Google publishes. They are kept for as long as Google says, and read
 * anew where none fits: Google may have begun to use another one.
 */
function googleSigningKey(url: string): JWTVerifyGetKey {
  let kept: { find: JWTVerifyGetKey; until: number } | undefined;

  async function read(): Promise<JWTVerifyGetKey> {
    const { status, headers, text } = await lightFetch(url, {
      method: 'GET',
      headers: {},
      redirect: 'error',
      signal: AbortSignal.timeout(tokenTimeout),
    });
    if (status !== 200) throw new Error(`Google answered ${status} to a request for its signing keys.`);
    const find = createLocalJWKSet(JSON.parse(await text()) as JSONWebKeySet);
    const seconds = /max-age=(\d+)/.exec(headers.get('cache-control') ?? '')?.[1] ?? 0;
    kept = { find, until: systemMilliseconds() + Number(seconds) * 1000 };
    return find;
  }

  return async (header, token) => {
    if (!kept || systemMilliseconds() >= kept.until) return (await read())(header, token);
    try {
      return await kept.find(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      return (await read())(header, token);
    }
  };
}

function idTokenInvalid(cause?: unknown): AppError {
  return new AppError(
    'id_token_invalid',
    "Google's proof of who consented could not be verified. Nothing was stored.",
    { status: 502, cause },
  );
}
