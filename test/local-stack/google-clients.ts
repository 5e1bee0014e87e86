import { calendar, type calendar_v3 } from '@googleapis/calendar';
import { OAuth2Client } from 'google-auth-library';
import { expect } from 'vitest';
import type { GoogleSimulator } from '../../infra/local/google/simulator.ts';
import { walkConsent } from '../../infra/local/google/walk-consent.ts';

export const redirectUri = 'http://localhost:3000/google/callback';
export const client = { clientId: 'demo-client', clientSecret: 'demo-secret', redirectUris: [redirectUri] };
export const ada = 'ada@example.com';
export const scopeOf = (name: string): string => `https://www.googleapis.com/auth/calendar${name}`;
export const eventsScope = scopeOf('.events');
export const signInScopes = ['openid', 'https://www.googleapis.com/auth/userinfo.email'];
export const asked = ['openid', 'email', eventsScope];
export const ten = { dateTime: '2026-11-23T10:00:00+01:00' };
export const eleven = { dateTime: '2026-11-23T11:00:00+01:00' };
export const appointment = { summary: 'First meeting', start: ten, end: eleven };

type ConnectOptions = {
  scope?: string[];
  prompt?: string;
  untick?: string[];
  deny?: boolean;
  account?: string;
};

/** Google's own clients, connected to the simulator: requests that they send have Google's shape. */
export function officialClients(google: () => GoogleSimulator) {
  function oauthClient(): OAuth2Client {
    const { url } = google();
    return new OAuth2Client({
      clientId: client.clientId,
      clientSecret: client.clientSecret,
      redirectUri,
      endpoints: {
        oauth2AuthBaseUrl: `${url}/o/oauth2/v2/auth`,
        oauth2TokenUrl: `${url}/token`,
        oauth2RevokeUrl: `${url}/revoke`,
        oauth2FederatedSignonPemCertsUrl: `${url}/oauth2/v1/certs`,
        oauth2FederatedSignonJwkCertsUrl: `${url}/oauth2/v3/certs`,
      },
    });
  }

  /** Walks the consent pages; returns the query of the app's callback. */
  async function consent(options: ConnectOptions = {}): Promise<URLSearchParams> {
    const { scope = asked, prompt, ...walk } = options;
    const url = oauthClient().generateAuthUrl({
      access_type: 'offline',
      scope,
      state: 'st&te',
      ...(prompt ? { prompt } : {}),
    });
    return new URL(await walkConsent(url, walk)).searchParams;
  }

  async function connect(options: ConnectOptions = {}) {
    const code = (await consent(options)).get('code') ?? '';
    const { tokens } = await oauthClient().getToken(code);
    return { ...tokens, refreshToken: tokens.refresh_token ?? '', accessToken: tokens.access_token ?? '' };
  }

  /** Google's Calendar client, with a new token for Ada unless one is given. */
  function calendarClient(scopes = [eventsScope], accessToken?: string): calendar_v3.Calendar {
    const auth = oauthClient();
    const grant = { clientId: client.clientId, email: ada, scopes };
    auth.setCredentials({ access_token: accessToken ?? google().control.grant(grant).accessToken });
    return calendar({ version: 'v3', auth, rootUrl: `${google().url}/`, retry: false });
  }

  function tokenRequest(fields: Record<string, string>): Promise<Response> {
    const body = new URLSearchParams({
      client_id: client.clientId,
      client_secret: client.clientSecret,
      ...fields,
    });
    return fetch(`${google().url}/token`, { method: 'POST', body });
  }

  const refreshRequest = (token: string): Promise<Response> =>
    tokenRequest({ grant_type: 'refresh_token', refresh_token: token });

  return { oauthClient, consent, connect, calendarClient, tokenRequest, refreshRequest };
}

/** The error of a request that must fail: its status and JSON body. */
export async function failure(
  request: Promise<unknown>,
): Promise<{ status?: number; body?: { error?: unknown } }> {
  const error = await request.then(
    () => expect.fail('the request succeeded'),
    (reason) => reason,
  );
  return { status: error.response?.status, body: error.response?.data };
}
