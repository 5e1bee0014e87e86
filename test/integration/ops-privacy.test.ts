import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ScanCommand } from '@aws-sdk/client-dynamodb';
import { unmarshall } from '@aws-sdk/util-dynamodb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bearerToken } from '../../infra/cli/links.ts';
import { eraseUser } from '../../infra/cli/ops/erase.ts';
import { recordsOf } from '../../infra/cli/ops/records.ts';
import { openTarget } from '../../infra/cli/ops/target.ts';
import { dynamoDbClient } from '../../infra/local/aws/dynamodb.ts';
import { demoAccounts } from '../../infra/local/google/state.ts';
import type { Booking } from '../../shared/booking/booking.ts';
import { type OpsStack, startOpsStack } from './ops-stack.ts';
import { ben } from './world.ts';

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
  return fetch(`${stack.url}${path}`, {
    ...init,
    headers: { authorization, 'content-type': 'application/json' },
  });
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

describe('the data of a user', () => {
  const user = 'erin';
  /** What is personal: in the connection, in a used, a declared and an unusable booking. */
  const personal = [ben, 'Zebra', 'Quokka', 'guest-of-erin@example.com', 'Wombat Street'];
  const texts = { summary: 'Zebra tuition', description: 'Quokka', location: 'Wombat Street 1' };
  const declared = {
    ...texts,
    ...{ start: '2034-01-01T10:00:00Z', end: '2034-01-01T11:00:00Z' },
    attendees: [{ email: 'guest-of-erin@example.com' }],
  };
  const file = () => join(on.state, 'erin.json');
  const payLate = (paymentId: string, bookingId: string) =>
    on.payAs(paymentId, user, bookingId, texts, Date.now() - 200_000);
  const personalIn = (text: string) => personal.filter((one) => text.includes(one));

  async function everyItem(): Promise<string> {
    const client = dynamoDbClient(on.stack.endpoints.dynamodb);
    const { BookingsTableName, ConnectionsTableName } = on.stack.outputs;
    const found = await Promise.all(
      [BookingsTableName, ConnectionsTableName].map((TableName) =>
        client.send(new ScanCommand({ TableName })),
      ),
    );
    client.destroy();
    return JSON.stringify(found.map(({ Items = [] }) => Items.map((item) => unmarshall(item))));
  }

  it('is exported without tokens to a file that only its owner reads', async () => {
    await on.connect(user, ben);
    await on.pay(user, 'b-paid', texts);
    await on.pay(user, 'b-unread', { ...texts, end: 'soon' });
    for (const id of ['b-held', 'b-declared'])
      await api(user, `/bookings/${id}`, {
        method: 'PUT',
        body: JSON.stringify({ ...declared, hold: id === 'b-held' }),
      });
    await on.becomes('b-paid', 'scheduled');
    await on.becomes('b-held', 'held');
    await on.becomes('b-unread', 'failed');
    expect((await on.ops('export', user, '--out', file())).text).toContain('4 bookings');
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    const text = readFileSync(file(), 'utf8');
    const { connection, bookings } = JSON.parse(text);
    expect(connection).toMatchObject({ email: ben, status: 'active' });
    expect(bookings.map((one: Booking) => one.bookingId).sort()).toEqual([
      'b-declared',
      'b-held',
      'b-paid',
      'b-unread',
    ]);
    expect(bookings).toContainEqual(
      expect.objectContaining({
        bookingId: 'b-paid',
        timeline: expect.arrayContaining([expect.objectContaining({ what: 'scheduled' })]),
        payments: { 'pi_b-paid': expect.objectContaining({ amount: 9000 }) },
        paymentPointers: [expect.objectContaining({ paymentId: 'pi_b-paid' })],
      }),
    );
    expect(personalIn(text)).toEqual(personal);
    expect(text).not.toMatch(/"tokens"|keyId|eyJ/);
    expect(JSON.parse((await on.ops('export', user)).text).bookings).toHaveLength(4);
    expect((await on.ops('export', user, '--out', file())).text).toContain('EEXIST');
  }, 120_000);

  it('is not erased where nobody can be asked', async () => {
    const { code, text } = await on.ops('erase', user);
    expect(text).toMatch(
      /4 bookings[\s\S]*pi_b-paid +b-paid +paid +9000[\s\S]*nothing was erased: give --yes/,
    );
    expect(code).toBe(1);
    expect((await on.booking('b-paid')).userId).toBe(user);
  }, 60_000);

  it('is erased but for its payments, also after a crash in the middle', async () => {
    expect(personalIn(await everyItem())).toEqual(personal);
    const target = await openTarget({ local: true, state: on.state });
    const records = recordsOf(target);
    const crash = async () => Promise.reject(new Error('crashed'));
    const crashing = { ...records, deleteBooking: crash };
    const operator = { by: 'test', now: Math.floor(Date.now() / 1000) };
    const erasing = eraseUser(
      target,
      crashing,
      user,
      operator,
      () => {},
      async () => {},
    );
    await expect(erasing).rejects.toThrow('crashed');
    expect(personalIn(await everyItem())).not.toEqual([]);
    const grants = on.stack.google?.control.grants().map(({ email }) => email);
    expect(grants).toEqual(expect.not.arrayContaining([ben]));

    const { code, text } = await on.ops('erase', user, '--yes');
    expect({ code, text }).toMatchObject({ code: 0, text: expect.stringContaining('Erased.') });
    const everything = await everyItem();
    expect(personalIn(everything)).toEqual([]);
    expect(everything).not.toContain(demoAccounts.find(({ email }) => email === ben)?.sub);
    const paid = await on.booking('b-paid');
    expect(paid).toMatchObject({ status: 'cancelled', payments: { 'pi_b-paid': { amount: 9000 } } });
    expect(paid).not.toHaveProperty('userId');
    expect(paid.timeline.at(-1)).toMatchObject({ what: 'personal data erased', by: expect.any(String) });
    expect((await on.ops('booking', 'b-declared')).text).toContain('There is no booking');
    expect(on.stack.google?.control.events(ben).some(({ summary }) => summary === 'Zebra tuition')).toBe(
      true,
    );
  }, 180_000);

  it('stays erased when a payment of before arrives again: only its facts are recorded', async () => {
    await payLate('pi_b-paid', 'b-paid');
    await payLate('pi_late', 'b-late');
    await payLate('pi_again', 'b-paid');
    await expect
      .poll(async () => (await on.booking('b-paid')).payments, { timeout: 20_000 })
      .toHaveProperty('pi_again');
    await expect
      .poll(async () => (await on.ops('payment', 'pi_late')).text, { timeout: 20_000 })
      .toContain('9000');
    expect((await on.ops('find', 'b-late')).code).toBe(1);
    expect(personalIn(await everyItem())).toEqual([]);
    expect(personalIn(JSON.stringify(on.stack.logs()))).toEqual([]);
    expect(personalIn(JSON.stringify(on.stack.events()))).toEqual([]);
  }, 120_000);

  it('is new data where the user comes back', async () => {
    await on.connect(user, ben);
    await on.pay(user, 'b-back', texts);
    await on.becomes('b-back', 'scheduled');
  }, 60_000);
});
