import { createHash, createPublicKey } from 'node:crypto';
import { Hono } from 'hono';
import {
  type CryptoKey,
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  importJWK,
  type JWK,
  type JWTPayload,
  SignJWT,
} from 'jose';
import type { Faults, SimulatorEnv } from './faults.ts';
import type { Account, Forgery, GoogleState } from './state.ts';

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

/** RS256 with a key that is stored with the state, so that a restart is no key rotation. */
export async function createIdTokenSigner(state: GoogleState): Promise<IdTokenSigner> {
  const privateJwk = (state.settings.get('signingKey') as JWK | undefined) ?? (await generateSigningKey());
  state.settings.set('signingKey', privateJwk);
  const { kty = '', n = '', e = '' } = privateJwk;
  const keyId = await calculateJwkThumbprint({ kty, n, e });
  const key = await importJWK(privateJwk, 'RS256');
  const publicJwk = { kty, n, e, kid: keyId, alg: 'RS256', use: 'sig' };
  const forge = forger(publicJwk, key);
  return {
    keyId,
    publicJwk,
    sign: ({ account, clientId, scopes, accessToken, nonce }) => {
      const issuedAt = Math.floor(state.now() / 1000);
      const may = (scope: string) => scopes.some((it) => it === scope || it.endsWith(`/userinfo.${scope}`));
      const claims = {
        iss: state.switches.issuer,
        azp: clientId,
        aud: clientId,
        sub: account.sub,
        at_hash: createHash('sha256').update(accessToken).digest().subarray(0, 16).toString('base64url'),
        ...(may('email') ? { email: account.email, email_verified: true } : {}),
        ...(may('profile') ? { name: account.name } : {}),
        ...(nonce === undefined ? {} : { nonce }),
        iat: issuedAt,
        exp: issuedAt + 3600,
      };
      const { forgeIdToken } = state.switches;
      return forgeIdToken === 'no' ? signed(claims, key, keyId) : forge[forgeIdToken](claims);
    },
  };
}

type Claims = JWTPayload & { iat: number };
type SigningKey = CryptoKey | Uint8Array;

function signed(claims: JWTPayload, key: SigningKey, kid: string, alg = 'RS256'): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg, kid, typ: 'JWT' }).sign(key);
}

/** ID tokens that are each wrong in one thing only, so that only the check of that thing can refuse them. */
function forger(publicJwk: JWK, key: SigningKey): Record<Forgery, (claims: Claims) => Promise<string>> {
  const { kid = '' } = publicJwk;
  const changed = (change: (claims: Claims) => JWTPayload) => (claims: Claims) =>
    signed({ ...claims, ...change(claims) }, key, kid);
  const without = (name: string) => (claims: Claims) =>
    signed(Object.fromEntries(Object.entries(claims).filter(([each]) => each !== name)), key, kid);
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const foreignKey = async () => (await generateKeyPair('RS256')).privateKey;
  const hour = 3600;
  return {
    unsigned: async (claims) => `${encode({ alg: 'none', kid, typ: 'JWT' })}.${encode(claims)}.`,
    // A verifier that takes the algorithm from the token would use the public key as HMAC secret.
    hmac_of_public_key: (claims) => signed(claims, new TextEncoder().encode(toPem(publicJwk)), kid, 'HS256'),
    other_key: async (claims) => signed(claims, await foreignKey(), kid),
    unknown_key_id: async (claims) => signed(claims, await foreignKey(), 'unknown'),
    other_subject: async (claims) => {
      const [header, , signature] = (await signed(claims, key, kid)).split('.');
      return [header, encode({ ...claims, sub: '100000000000000000666' }), signature].join('.');
    },
    other_audience: changed(() => ({ aud: 'other-app.apps.googleusercontent.com' })),
    other_issuer: changed(() => ({ iss: 'https://accounts.google.com.example' })),
    expired: changed(({ iat }) => ({ iat: iat - 2 * hour, exp: iat - hour })),
    not_yet_valid: changed(({ iat }) => ({ iat: iat + hour, exp: iat + 2 * hour })),
    other_nonce: changed(() => ({ nonce: 'x'.repeat(43) })),
    no_nonce: without('nonce'),
    no_subject: without('sub'),
  };
}

function toPem(publicJwk: JWK): string {
  const key = createPublicKey({ key: publicJwk as Record<string, unknown>, format: 'jwk' });
  return key.export({ type: 'spki', format: 'pem' }).toString();
}

async function generateSigningKey(): Promise<JWK> {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  return exportJWK(privateKey);
}

/** The public key in both of Google's forms, and the discovery document that points to them. */
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
  app.get('/oauth2/v1/certs', faults.around('certs'), (c) =>
    c.json({ [signer.keyId]: toPem(signer.publicJwk) }, 200, cached),
  );
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
