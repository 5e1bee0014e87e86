import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bearerToken } from '../../infra/cli/links.ts';
import { type OpsStack, startOpsStack } from './ops-stack.ts';

let on: OpsStack;
beforeAll(async () => {
  on = await startOpsStack();
});
afterAll(() => on?.stack.close());

/** Calls the API as the backend does for a user. */
async function api(userId: string, path: string, init: RequestInit = {}): Promise<Response> {
  const { stack } = on;
  const keys = stack.secrets.get(stack.secretNames.keys['api-signing']) as string;
  const authorization = `Bearer ${await bearerToken(keys, userId, Date.now())}`;
  return fetch(`${stack.url}${path}`, { ...init, headers: { authorization } });
}

describe('a paid booking that cannot be used', () => {
  it('is in the list of its user, and shows operators what the payment says', async () => {
    await on.pay('unusable', 'b-unusable', { end: 'soon', summary: 'Ski lesson\u001b[2J' });
    await on.becomes('b-unusable', 'failed');
    const listed = (await (await api('unusable', '/bookings')).json()) as { bookings: unknown[] };
    expect(listed.bookings).toMatchObject([{ bookingId: 'b-unusable', status: 'failed' }]);
    expect(JSON.stringify(listed)).not.toContain('Ski lesson');
    expect((await on.ops('list', 'failed')).text).toMatch(/b-unusable +unusable +failed/);
    const { text } = await on.ops('booking', 'b-unusable');
    expect(text).toMatch(/What its payment says\n[\s\S]* summary +Ski lesson \[2J[\s\S]* end +soon/);
    expect(text).toContain('ops retry b-unusable: reads again what its payment says');
  });

  it('stays as it is when it is retried, with the reason', async () => {
    const { code, text } = await on.ops('retry', 'b-unusable');
    expect(text).toMatch(/no usable appointment\. "end" must be a time.*PUT \/bookings/);
    expect(code).toBe(1);
    expect((await on.booking('b-unusable')).timeline.map(({ what }) => what)).not.toContain(
      'retry requested',
    );
  });

  it('a payment without a usable user is scheduled once an operator names the user', async () => {
    await on.connect('owner');
    await on.pay('no user: unusable', 'b-nobody', { description: 'd'.repeat(500) });
    await on.becomes('pi_b-nobody', 'failed');
    expect((await on.ops('retry', 'pi_b-nobody')).text).toContain('--user <id>');
    expect((await on.ops('retry', 'pi_b-nobody', '--user', 'not a user')).code).toBe(1);
    expect(await on.ops('retry', 'pi_b-nobody', '--user', 'owner')).toMatchObject({ code: 0 });
    await on.becomes('pi_b-nobody', 'scheduled');
    const { appointment, userId, paymentTexts, timeline } = await on.booking('pi_b-nobody');
    expect(appointment?.description).toBe('d'.repeat(500));
    expect({ userId, paymentTexts }).toEqual({ userId: 'owner' });
    expect(timeline).toContainEqual(
      expect.objectContaining({ what: 'retry requested', by: expect.any(String) }),
    );
  });

  it('a payment that names a booking of another user is scheduled for its own user on retry', async () => {
    await on.connect('second');
    await on.pay('owner', 'b-shared', { start: '2033-01-01T10:00:00Z', end: '2033-01-01T11:00:00Z' });
    await on.becomes('b-shared', 'scheduled');
    await on.payAs('pi_second', 'second', 'b-shared', {
      start: '2033-02-01T10:00:00',
      end: '2033-02-01T11:00:00',
      time_zone: 'Europe/Berlin',
    });
    await on.becomes('pi_second', 'failed');
    expect(await on.ops('retry', 'pi_second')).toMatchObject({ code: 0 });
    await on.becomes('pi_second', 'scheduled');
    expect((await on.booking('pi_second')).appointment?.start).toEqual({
      dateTime: '2033-02-01T10:00:00',
      timeZone: 'Europe/Berlin',
    });
  });
});
