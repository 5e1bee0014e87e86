import { createHash, createPublicKey } from 'node:crypto';
import { Hono } from 'hono';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose';
import type { Faults, SimulatorEnv } from './faults.ts';
import type { Account, GoogleState } from './state.ts';

export type IdTokenSigner = {
  keyId: string;
  publicJwk: JWK;
  sign(claims: {
    account: Account;
    clientId: string;
    scopes: string[];
    accessToken: string;
    nonce?: string | undefined;
  }): Promise<string>;
};

/** RS256 with a key that is kept with the state, so that a restart is not a key rotation. */
export async function createIdTokenSigner(state: GoogleState): Promise<IdTokenSigner> {
  const privateJwk = (state.settings.get('signingKey') as JWK | undefined) ?? (await generateSigningKey());
  state.settings.set('signingKey', privateJwk);
  const { kty = '', n = '', e = '' } = privateJwk;
  const keyId = await calculateJwkThumbprint({ kty, n, e });
  const key = await importJWK(privateJwk, 'RS256');
  return {
    keyId,
    publicJwk: { kty, n, e, kid: keyId, alg: 'RS256', use: 'sig' },
    sign: ({ account, clientId, scopes, accessToken, nonce }) => {
      const issuedAt = Math.floor(state.now() / 1000);
      const may = (scope: string) => scopes.some((it) => it === scope || it.endsWith(`/userinfo.${scope}`));
      return new SignJWT({
        azp: clientId,
        at_hash: createHash('sha256').update(accessToken).digest().subarray(0, 16).toString('base64url'),
        ...(may('email') ? { email: account.email, email_verified: true } : {}),
        ...(may('profile') ? { name: account.name } : {}),
        ...(nonce === undefined ? {} : { nonce }),
      })
        .setProtectedHeader({ alg: 'RS256', kid: keyId, typ: 'JWT' })
        .setIssuer(state.switches.issuer)
        .setAudience(clientId)
        .setSubject(account.sub)
        .setIssuedAt(issuedAt)
        .setExpirationTime(issuedAt + 3600)
        .sign(key);
    },
  };
}

async function generateSigningKey(): Promise<JWK> {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  return exportJWK(privateKey);
}

/** The public key in both of Google's forms, and the discovery document that leads there. */
export function idTokenRoutes(
  signer: IdTokenSigner,
  faults: Faults,
  baseUrl: () => string,
): Hono<SimulatorEnv> {
  const cached = { 'cache-control': 'public, max-age=20000, must-revalidate' };
  const app = new Hono<SimulatorEnv>();
  app.get('/oauth2/v3/certs', faults.around('certs'), (c) =>
    c.json({ keys: [signer.publicJwk] }, 200, cached),
  );
  // Google wraps the key in a certificate; google-auth-library takes the bare public key as well.
  app.get('/oauth2/v1/certs', faults.around('certs'), (c) => {
    const key = createPublicKey({ key: signer.publicJwk as Record<string, unknown>, format: 'jwk' });
    return c.json({ [signer.keyId]: key.export({ type: 'spki', format: 'pem' }) }, 200, cached);
  });
  app.get('/.well-known/openid-configuration', (c) =>
    c.json({
      issuer: 'https://accounts.google.com',
      authorization_endpoint: `${baseUrl()}/o/oauth2/v2/auth`,
      token_endpoint: `${baseUrl()}/token`,
      revocation_endpoint: `${baseUrl()}/revoke`,
      jwks_uri: `${baseUrl()}/oauth2/v3/certs`,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256'],
      scopes_supported: ['openid', 'email', 'profile'],
      token_endpoint_auth_methods_supported: ['client_secret_post', 'client_secret_basic'],
      code_challenge_methods_supported: ['plain', 'S256'],
    }),
  );
  return app;
}
