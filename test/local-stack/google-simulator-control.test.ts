import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type GoogleSimulator, startGoogleSimulator } from '../../infra/local/google/simulator.ts';
import { ada, appointment, client, eventsScope, failure, officialClients } from './google-clients.ts';

let google: GoogleSimulator;
let now: number;
const { oauthClient, connect, calendarClient, tokenRequest, refreshRequest } = officialClients(() => google);

beforeEach(async () => {
  now = Date.now();
  google = await startGoogleSimulator({ clients: [client], now: () => now });
});
afterEach(() => google.close());

describe('faults', () => {
  const insert = (id: string) =>
    calendarClient().events.insert({ calendarId: 'primary', requestBody: { ...appointment, id } });

  it('a fault answers errors instead of acting, after and as often as planned', async () => {
    google.control.fail({
      on: 'events.insert',
      after: 1,
      times: 2,
      how: { status: 403, reason: 'quotaExceeded', retryAfter: 7 },
    });
    expect((await insert('fault1')).status).toBe(200);
    const refused = await failure(insert('fault2'));
    expect(refused.body).toMatchObject({
      error: {
        errors: [
          { domain: 'usageLimits', reason: 'quotaExceeded', message: 'Calendar usage limits exceeded.' },
        ],
      },
    });
    expect((await failure(insert('fault2'))).status).toBe(403);
    expect((await insert('fault2')).status).toBe(200);
    expect(google.control.events(ada)).toHaveLength(2);
  });

  it('a fault loses a request before it acts, or its response afterwards', async () => {
    google.control.fail({ on: 'events.insert', how: { lose: 'request' } });
    google.control.fail({ on: 'events.insert', how: { lose: 'response' } });
    expect((await failure(insert('lost1'))).status).toBeUndefined();
    expect(google.control.events(ada)).toEqual([]);
    expect((await failure(insert('lost2'))).status).toBeUndefined();
    expect(google.control.events(ada)).toMatchObject([{ id: 'lost2' }]);
    expect(google.control.requests().map(({ route, status }) => [route, status])).toEqual([
      ['events.insert', 0],
      ['events.insert', 0],
    ]);
  });

  it('a fault applies a request late, after its client has timed out', async () => {
    google.control.fail({ on: 'events.insert', how: { delayMs: 80 } });
    const { accessToken } = google.control.grant({
      clientId: client.clientId,
      email: ada,
      scopes: [eventsScope],
    });
    const impatient = fetch(`${google.url}/calendar/v3/calendars/primary/events`, {
      method: 'POST',
      headers: { authorization: `Bearer ${accessToken}` },
      body: JSON.stringify({ ...appointment, id: 'late2' }),
      signal: AbortSignal.timeout(30),
    });
    await expect(impatient).rejects.toThrow('timeout');
    expect(google.control.events(ada)).toEqual([]);
    await vi.waitFor(() => expect(google.control.events(ada)).toMatchObject([{ id: 'late2' }]));
  });

  it('faults answer OAuth errors at the token endpoint, and HTML on request', async () => {
    google.control.fail({ on: 'token', how: { status: 401, oauthError: 'invalid_client' } });
    google.control.fail({ on: 'token', how: { status: 502, html: true } });
    expect(await (await tokenRequest({})).json()).toMatchObject({ error: 'invalid_client' });
    const page = await tokenRequest({});
    expect([page.status, page.headers.get('content-type')]).toEqual([502, 'text/html; charset=utf-8']);
  });

  it('random faults repeat with the same seed', async () => {
    const run = async () => {
      google.control.clearFaults();
      google.control.fail({ on: 'certs', probability: 0.5, seed: 7, how: { status: 503 } });
      const statuses: number[] = [];
      for (let i = 0; i < 12; i += 1) statuses.push((await fetch(`${google.url}/oauth2/v3/certs`)).status);
      return statuses;
    };
    const first = await run();
    expect(new Set(first)).toEqual(new Set([200, 503]));
    expect(await run()).toEqual(first);
  });

  it('faults can be planned and observed over HTTP', async () => {
    const post = (path: string, body: unknown) =>
      fetch(`${google.url}/_simulator/${path}`, { method: 'POST', body: JSON.stringify(body) });
    expect((await post('faults', { on: 'events', how: { delayMs: 60 } })).status).toBe(201);
    const began = performance.now();
    await insert('late1');
    expect(performance.now() - began).toBeGreaterThan(55);
    const seen = async (path: string) => (await fetch(`${google.url}/_simulator/${path}`)).json();
    expect(await seen(`events?email=${ada}`)).toMatchObject({ events: [{ id: 'late1' }] });
    expect(await seen('requests')).toMatchObject({
      requests: [{ route: 'events.insert', method: 'POST', status: 200 }],
    });
    expect(await seen('grants')).toMatchObject({ grants: [{ email: ada, refreshTokens: 1 }] });
    expect(JSON.stringify(await seen('grants'))).not.toMatch(/ya29|1\/\//);
    expect((await post('revoke-grant', { email: 'nobody@example.com' })).status).toBe(400);
  });
});

describe('persistence', () => {
  it('keeps calendars, grants and signing key over restarts, also after a truncated line', async () => {
    const stateFile = join(mkdtempSync(join(tmpdir(), 'simulated-google-')), 'google.jsonl');
    await google.close();
    google = await startGoogleSimulator({ clients: [client], stateFile });
    const { refreshToken, id_token } = await connect();
    const api = calendarClient();
    await api.events.insert({ calendarId: 'primary', requestBody: { ...appointment, id: 'kept1' } });
    await api.events.insert({ calendarId: 'primary', requestBody: { ...appointment, id: 'kept2' } });
    await api.events.delete({ calendarId: 'primary', eventId: 'kept2' });
    await google.close();
    appendFileSync(stateFile, '["events","half');

    google = await startGoogleSimulator({ clients: [client], stateFile });
    expect(google.control.events(ada).map(({ id, status }) => [id, status])).toEqual([
      ['kept1', 'confirmed'],
      ['kept2', 'cancelled'],
    ]);
    const refreshed = await refreshRequest(refreshToken);
    expect(refreshed.status).toBe(200);
    await oauthClient().verifyIdToken({ idToken: id_token ?? '', audience: client.clientId });
  });

  it('after SIGKILL has every event that was acknowledged', async () => {
    const stateFile = join(mkdtempSync(join(tmpdir(), 'simulated-google-')), 'google.jsonl');
    const simulator = new URL('../../infra/local/google/simulator.ts', import.meta.url);
    const script = `
      const { startGoogleSimulator } = await import(${JSON.stringify(simulator.href)});
      const options = { clients: [${JSON.stringify(client)}], stateFile: ${JSON.stringify(stateFile)} };
      console.log((await startGoogleSimulator(options)).url);`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = await once(child.stdout, 'data');
    const url = `${line}`.trim();
    const grant = await fetch(`${url}/_simulator/grants`, {
      method: 'POST',
      body: JSON.stringify({ clientId: client.clientId, email: ada, scopes: [eventsScope] }),
    });
    const { accessToken } = (await grant.json()) as { accessToken: string };

    const answered: string[] = [];
    const insert = async (id: string) => {
      const response = await fetch(`${url}/calendar/v3/calendars/primary/events`, {
        method: 'POST',
        headers: { authorization: `Bearer ${accessToken}` },
        body: JSON.stringify({ ...appointment, id }),
      });
      if (response.ok) answered.push(id);
      if (answered.length === 50) child.kill('SIGKILL');
    };
    await Promise.allSettled(Array.from({ length: 200 }, (_, index) => insert(`event${index}`)));
    child.kill('SIGKILL');

    await google.close();
    google = await startGoogleSimulator({ clients: [client], stateFile });
    const kept = google.control.events(ada).map(({ id }) => id);
    expect(answered.length).toBeGreaterThanOrEqual(50);
    expect(kept).toEqual(expect.arrayContaining(answered));
  });
});

describe('pages', () => {
  const show = async (path: string) => {
    const response = await fetch(new URL(path, google.url));
    return { status: response.status, headers: response.headers, text: await response.text() };
  };
  const week = `/calendar?user=${ada}&date=2026-11-25`;

  it("the week page shows an account's events at their local time, escaped", async () => {
    const requestBody = { ...appointment, summary: '<script>alert("x")</script>', location: 'Room & garden' };
    const { data } = await calendarClient().events.insert({ calendarId: 'primary', requestBody });
    const page = await show(week);
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(page.text).toContain('November 2026');
    expect(page.text).toContain('10:00 – 11:00');
    expect(page.text).toContain('Room &amp; garden');
    expect(page.text).not.toContain('<script');
    expect(page.text).toContain(new URL(data.htmlLink ?? '').pathname);
    expect((await show('/calendar?user=ada@example.com&date=2026-12-02')).text).not.toContain(
      '10:00 – 11:00',
    );
    const event = await show(data.htmlLink ?? '');
    expect(event.text).toContain('Monday, 23 November 2026');
    expect(event.text).not.toContain('<script');
  });

  it('the week page shows all-day events on each day, and night events on both days', async () => {
    const api = calendarClient();
    const days = { summary: 'Fair', start: { date: '2026-11-24' }, end: { date: '2026-11-26' } };
    await api.events.insert({ calendarId: 'primary', requestBody: days });
    const night = {
      summary: 'Night',
      start: { dateTime: '2026-11-26T22:00:00+01:00' },
      end: { dateTime: '2026-11-27T01:00:00+01:00' },
    };
    await api.events.insert({ calendarId: 'primary', requestBody: night });
    const { text } = await show(week);
    expect(text.match(/Fair/g)).toHaveLength(2);
    expect(text).toContain('22:00 – 00:00');
    expect(text).toContain('00:00 – 01:00');
  });

  it('the owner deletes an event and removes an app by page', async () => {
    const { accessToken } = await connect();
    await calendarClient([], accessToken).events.insert({
      calendarId: 'primary',
      requestBody: { ...appointment, id: 'mine1' },
    });
    const { text } = await show(google.control.events(ada)[0]?.htmlLink ?? '');
    const eid = /name="eid" value="([^"]+)"/.exec(text)?.[1] ?? '';
    const post = (path: string, fields: Record<string, string>) =>
      fetch(`${google.url}${path}`, { method: 'POST', body: new URLSearchParams(fields) });
    expect(await (await post('/calendar/event/delete', { eid })).text()).toContain('has been deleted');
    expect(google.control.events(ada)).toMatchObject([{ id: 'mine1', status: 'cancelled' }]);
    expect((await show(week)).text).toContain(client.clientId);
    await post('/calendar/remove-access', { user: ada, client: client.clientId });
    expect(google.control.grants()).toEqual([]);
    expect((await show(week)).text).not.toContain(client.clientId);
  });

  it('explains the simulator, and answers 404 for an unknown event', async () => {
    expect((await show('/')).text).toContain('A stand-in for Google');
    expect((await show('/_simulator/style.css')).headers.get('content-type')).toContain('text/css');
    expect((await show('/calendar/event?eid=nothing')).status).toBe(404);
  });
});
