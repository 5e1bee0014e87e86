import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type LocalStack, startLocalStack } from '../../infra/local/stack.ts';
import { apiTokenFor, connect, linkFor } from './browser.ts';

let stack: LocalStack;
beforeAll(async () => {
  stack = await startLocalStack({
    google: { kind: 'simulator' },
    schedules: false,
    assembly: inject('assembly'),
  });
});
afterAll(() => stack?.close());

type Call = { method?: string; path?: string; token?: string; body?: string };

async function call(userId: string, { method = 'GET', path = '/connections/me', token, body }: Call = {}) {
  const bearer = token ?? (await apiTokenFor(stack, userId));
  const response = await fetch(`${stack.url}${path}`, {
    method,
    headers: { ...(bearer ? { authorization: `Bearer ${bearer}` } : {}), 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body }),
  });
  return {
    status: response.status,
    headers: response.headers,
    body: (await response.json()) as Record<string, unknown>,
  };
}

describe('the connections API', () => {
  it("shows, changes and ends the connection of the token's user", async () => {
    await connect(stack, 'owner');
    expect(await call('owner')).toMatchObject({
      status: 200,
      body: {
        status: 'active',
        email: 'ada@example.com',
        calendarId: 'primary',
        timeZone: 'Europe/Vienna',
      },
    });
    const changed = await call('owner', { method: 'PATCH', body: '{"calendarId":"ada@example.com"}' });
    expect(changed).toMatchObject({
      status: 200,
      body: { calendarId: 'ada@example.com', timeZone: 'Europe/Vienna' },
    });
    expect(await call('owner', { method: 'PATCH', body: '{"timeZone":"Europe/Berlin"}' })).toMatchObject({
      status: 400,
      body: { problems: [{ code: 'invalid_field', field: 'timeZone' }] },
    });
    expect(await call('owner', { path: '/connections/me/calendars' })).toMatchObject({
      status: 403,
      body: { code: 'calendar_list_permission_missing' },
    });
    expect(await call('owner', { method: 'DELETE' })).toMatchObject({
      status: 200,
      body: { status: 'disconnected', revocation: 'done' },
    });
    expect(await call('owner')).toMatchObject({ status: 200, body: { status: 'disconnected' } });
    expect(stack.google?.control.grants()).toEqual([]);
  });

  it("answers 404 for users without a connection, and never shows another user's connection", async () => {
    await connect(stack, 'somebody');
    const answer = await call('nobody');
    expect(answer).toMatchObject({ status: 404, body: { code: 'connection_not_found' } });
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
  });

  it.each<[string, () => Promise<string>, string]>([
    ['no token', async () => '', 'Bearer'],
    [
      'a token of another purpose',
      async () => new URL(await linkFor(stack, 'owner')).searchParams.get('token') ?? '',
      'Bearer error="invalid_token"',
    ],
    ['nonsense', async () => 'nonsense', 'Bearer error="invalid_token"'],
  ])('answers 401 with a challenge to %s', async (_, make, challenge) => {
    const response = await fetch(`${stack.url}/connections/me`, {
      headers: { authorization: `Bearer ${await make()}` },
    });
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toBe(challenge);
  });

  it.each([
    ['not JSON', '{"timeZone"', 400, 'invalid_json'],
    ['not an object', '"primary"', 400, 'invalid_request'],
    ['an object with an unknown field', '{"token":"x"}', 400, 'invalid_request'],
    ['too large', JSON.stringify({ calendarId: 'x'.repeat(70_000) }), 413, 'payload_too_large'],
  ])('refuses a connection change whose body is %s', async (_, body, status, code) => {
    await connect(stack, 'changer');
    expect(await call('changer', { method: 'PATCH', body })).toMatchObject({ status, body: { code } });
  });
});
