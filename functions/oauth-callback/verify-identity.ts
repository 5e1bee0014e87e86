import type { GoogleClient } from '../../shared/google/client-secret.ts';
import type { GoogleEndpoints } from '../../shared/google/endpoints.ts';
import { lightFetch } from '../../shared/google/light-fetch.ts';
import {
  type GoogleIdentity,
  type GoogleOAuth,
  googleTokens,
  requestTokens,
  tokenTimeoutMs,
} from '../../shared/google/token-endpoint.ts';
import { AppError } from '../../shared/lib/app-error.ts';
import { systemMilliseconds } from '../../shared/lib/clock.ts';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';

/** Google's token endpoint with the code exchange, which verifies the id token. Used only by the callback. */
export function googleOAuth(endpoints: GoogleEndpoints): GoogleOAuth {
  const certificates = googleCertificates(endpoints.certificates);
  return {
    ...googleTokens(endpoints),
    async exchangeCode(client, { code, verifier, redirectUri }) {
      const { granted, idToken } = await requestTokens(endpoints, client, {
        grant_type: 'authorization_code',
        code,
        code_verifier: verifier,
        redirect_uri: redirectUri,
      });
      return { ...granted, identity: await verifyIdentity(certificates, client, idToken) };
    },
  };
}

/** Google uses both forms. */
const issuers = ['https://accounts.google.com', 'accounts.google.com'];
/** Seconds for which an id token may be valid: an hour, and five minutes of clock skew. */
const maxIdTokenLifetimeSeconds = 3900;

/** Google's library checks signature, issuer, audience and times; the caller checks the nonce. */
async function verifyIdentity(
  certificates: Certificates,
  client: GoogleClient,
  idToken: unknown,
): Promise<GoogleIdentity> {
  // Loaded late, since most failing callbacks end before this.
  const { OAuth2Client } = await import('google-auth-library');
  const verifier = new OAuth2Client();
  const verify = async (published: CertificatesByKeyId) => {
    const audience = client.clientId;
    const ticket = await verifier.verifySignedJwtWithCertsAsync(
      String(idToken),
      published,
      audience,
      issuers,
      maxIdTokenLifetimeSeconds,
    );
    return ticket.getPayload();
  };
  try {
    const payload = await certificates(verify);
    if (payload?.sub) {
      const { sub, email, nonce } = payload;
      return omitUndefined({ sub, email: email ?? '', nonce });
    }
  } catch (error) {
    throw idTokenInvalid(error);
  }
  throw idTokenInvalid();
}

/** PEM certificates by key id. */
type CertificatesByKeyId = Record<string, string>;
/** Runs `verify` with the certificates that Google publishes. */
type Certificates = <T>(verify: (published: CertificatesByKeyId) => Promise<T>) => Promise<T>;

/**
 * The certificates of Google's signing keys, cached for as long as Google says. Read again where none verifies the
 * token, since Google may use a new key.
 */
function googleCertificates(url: string): Certificates {
  let cached: { published: CertificatesByKeyId; until: number } | undefined;

  async function read(): Promise<CertificatesByKeyId> {
    const { status, headers, text } = await lightFetch(url, {
      method: 'GET',
      headers: {},
      redirect: 'error',
      signal: AbortSignal.timeout(tokenTimeoutMs),
    });
    if (status !== 200) throw new Error(`Google answered ${status} to a request for its certificates.`);
    const published = JSON.parse(await text()) as CertificatesByKeyId;
    const seconds = /max-age=(\d+)/.exec(headers.get('cache-control') ?? '')?.[1] ?? 0;
    cached = { published, until: systemMilliseconds() + Number(seconds) * 1000 };
    return published;
  }

  return async (verify) => {
    if (!cached || systemMilliseconds() >= cached.until) return verify(await read());
    try {
      return await verify(cached.published);
    } catch {
      return verify(await read());
    }
  };
}

function idTokenInvalid(cause?: unknown): AppError {
  return new AppError(
    'id_token_invalid',
    "Google's proof of who consented could not be verified. Nothing was stored.",
    {
      status: 502,
      cause: cause instanceof Error ? new Error(redactTokens(cause.message)) : undefined,
    },
  );
}

/** Characters of a message that are read: it may quote input of any length. */
const maxMessageLength = 2_000;

/** The message without tokens and their content, which the library quotes. A part of a token is removed too. */
export function redactTokens(message: string): string {
  return message
    .slice(0, maxMessageLength)
    .replace(/[\w.-]{30,}/g, '(token)')
    .replace(/\{.*/s, '(content)')
    .slice(0, 200);
}
