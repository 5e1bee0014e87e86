import { createServer } from 'node:http';
import { exportSPKI, generateKeyPair, SignJWT } from 'jose';
import { expect, onTestFinished, test } from 'vitest';
import { googleOAuth, redactTokens } from '../../functions/oauth-callback/verify-identity.ts';
import { closeServer, listen } from '../../infra/local/ports.ts';
import { googleEndpoints } from '../../shared/google/endpoints.ts';

const client = { clientId: 'client-id', clientSecret: 'client-secret' };
const request = { code: 'code', verifier: 'verifier', redirectUri: 'https://api.example.com/callback' };

/** Google's signing: published keys and the signing key can change while it runs. */
async function signingGoogle(cacheControl: string) {
  const google = { published: new Map<string, string>(), keyReads: 0, sign: async () => '' };
  const server = createServer(async ({ url }, response) => {
    if (url?.startsWith('/oauth2/v1/certs')) {
      google.keyReads++;
      response.writeHead(200, { 'cache-control': cacheControl });
      return response.end(JSON.stringify(Object.fromEntries(google.published)));
    }
    const tokens = { access_token: 'access', expires_in: 3599, refresh_token: 'refresh', scope: 'openid' };
    return response.end(JSON.stringify({ ...tokens, id_token: await google.sign() }));
  });
  const port = await listen(server, 0);
  onTestFinished(() => closeServer(server));

  async function useKey(kid: string): Promise<void> {
    const { publicKey, privateKey } = await generateKeyPair('RS256');
    google.published.set(kid, await exportSPKI(publicKey));
    google.sign = () =>
      new SignJWT({ email: 'ada@example.com' })
        .setProtectedHeader({ alg: 'RS256', kid })
        .setIssuer('https://accounts.google.com')
        .setAudience(client.clientId)
        .setSubject('ada-sub')
        .setIssuedAt()
        .setExpirationTime('1h')
        .sign(privateKey);
  }
  const { exchangeCode } = googleOAuth(googleEndpoints(`http://127.0.0.1:${port}`));
  return { google, useKey, exchange: () => exchangeCode(client, request) };
}

const ada = { identity: { sub: 'ada-sub', email: 'ada@example.com' } };

test("caches Google's signing keys for the time that Google allows", async () => {
  const { google, useKey, exchange } = await signingGoogle('public, max-age=20000, must-revalidate');
  await useKey('one');
  for (let i = 0; i < 3; i++) expect(await exchange()).toMatchObject(ada);
  expect(google.keyReads).toBe(1);
});

test("reads Google's signing keys each time when Google forbids caching", async () => {
  const { google, useKey, exchange } = await signingGoogle('no-store');
  await useKey('one');
  for (let i = 0; i < 2; i++) expect(await exchange()).toMatchObject(ada);
  expect(google.keyReads).toBe(2);
});

test('accepts a new key of Google after one reload', async () => {
  const { google, useKey, exchange } = await signingGoogle('max-age=20000');
  await useKey('one');
  await exchange();
  await useKey('two');
  expect(await exchange()).toMatchObject(ada);
  expect(google.keyReads).toBe(2);
});

test('rejects an unknown key id after one reload of the certificates', async () => {
  const { google, useKey, exchange } = await signingGoogle('max-age=20000');
  await useKey('one');
  await exchange();
  await useKey('two');
  google.published.delete('two');
  for (let i = 0; i < 2; i++) await expect(exchange()).rejects.toMatchObject({ code: 'id_token_invalid' });
});

test.each([
  ['one long word', 'a'.repeat(60_000)],
  ['words with dots', 'a.'.repeat(30_000)],
  ['almost tokens', `${'a'.repeat(10)}.`.repeat(6_000)],
  ['braces', '{'.repeat(60_000)],
])('removes tokens from a message of %s in under 100 ms', (_, message) => {
  const before = performance.now();
  expect(redactTokens(message).length).toBeLessThanOrEqual(200);
  expect(performance.now() - before).toBeLessThan(100);
});

test.each([0, 1_600, 1_900, 1_990])(
  'removes a token after %i characters, also if it is truncated',
  (length) => {
    const part = Buffer.from('{"email":"ada@example.com"}').toString('base64url').repeat(20);
    const message = redactTokens(`${' '.repeat(length)}${part}.${part}.${part}`);
    expect(message.trim()).toMatch(/^(\(token\)|[\w.-]{0,29})$/);
  },
);
