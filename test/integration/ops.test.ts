import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { marshall } from '@aws-sdk/util-dynamodb';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { connectUser, payForBooking } from '../../infra/cli/demo-user.ts';
import { demoBooking } from '../../infra/cli/payment.ts';
import { dynamoDbClient, localCredentials } from '../../infra/local/aws/dynamodb.ts';
import { type LocalStack, startLocalStack } from '../../infra/local/stack.ts';
import { writeStackAddress } from '../../infra/local/state-files.ts';
import { calendarEventId } from '../../shared/booking/booking.ts';
import { temporaryDirectory } from '../local-stack/local-assembly.ts';
import { ada, ben } from './world.ts';

let stack: LocalStack;
let state: string;

beforeAll(async () => {
  state = temporaryDirectory();
  stack = await startLocalStack({
    assembly: inject('assembly'),
    google: { kind: 'simulator', port: 0 },
    schedules: false,
    stateDir: state,
  });
  const { url, googleUrl, secretNames, endpoints, outputs } = stack;
  writeStackAddress(state, { url, googleUrl, secretNames, endpoints, outputs });
});
afterAll(() => stack?.close());

type Ran = { code: number; text: string };

/** Runs the command as npm would. */
function ops(...args: string[]): Promise<Ran> {
  const command = join(import.meta.dirname, '..', '..', 'infra', 'cli', 'ops.ts');
  return new Promise((resolve) => {
    execFile(process.execPath, [command, ...args, '--local', '--state', state], (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, text: stdout + stderr }),
    );
  });
}
async function json<T>(...args: string[]): Promise<T> {
  return JSON.parse((await ops(...args, '--json')).text);
}
type Story = {
  booking: { status: string; problems: { code: string }[]; timeline: { what: string; by?: string }[] };
};
const statusOf = async (id: string) => (await json<Story>('booking', id)).booking.status;
const becomes = (id: string, status: string) =>
  expect.poll(() => statusOf(id), { timeout: 20_000 }).toBe(status);

let links = 0;
const connect = (userId: string, account = ada) =>
  connectUser(stack, { userId, account, now: Date.now() + 1000 * links++ });
const pay = (userId: string, bookingId: string, more: object = {}) => {
  const now = Date.now();
  return payForBooking(stack, { ...demoBooking(userId, bookingId, now), ...more }, { now, newId: bookingId });
};

describe('a customer paid, and there is no event', () => {
  test('unusable metadata: the booking is listed, and its story says what is wrong', async () => {
    await pay('metadata', 'ops-metadata', { end: 'soon' });
    await becomes('ops-metadata', 'failed');
    expect((await ops('list', 'failed')).text).toMatch(/ops-metadata +metadata +failed +invalid_booking/);
    const story = await ops('booking', 'ops-metadata');
    expect(story.text).toMatch(/Problems\n {2}invalid_booking: "end"/);
    expect(story.text).toContain('PUT /bookings/ops-metadata');
    const retry = await ops('retry', 'ops-metadata');
    expect(retry).toMatchObject({ code: 1, text: expect.stringContaining('no usable appointment') });
  });

  test('never connected: the story says so, and connecting repairs it', async () => {
    await pay('unconnected', 'ops-unconnected');
    await becomes('ops-unconnected', 'waiting_for_connection');
    expect((await ops('list', 'waiting')).text).toContain('ops-unconnected');
    expect((await ops('user', 'unconnected')).text).toContain('Has never connected a Google calendar');
    expect((await ops('retry', 'ops-unconnected')).text).toContain('no working connection');
    expect((await ops('release', 'unconnected')).text).toContain('connects Google first');
    await connect('unconnected');
    await becomes('ops-unconnected', 'scheduled');
    expect((await ops('list', 'waiting')).text).not.toContain('ops-unconnected');
  });

  test('revoked grant: the reason is in the story', async () => {
    await connect('revoked', ben);
    stack.google?.control.revokeGrant(ben);
    await pay('revoked', 'ops-revoked');
    await becomes('ops-revoked', 'waiting_for_connection');
    expect((await ops('booking', 'ops-revoked')).text).toContain(
      'revoked, connection reauthorization_required (invalid_grant)',
    );
    await connect('revoked', ben);
    await becomes('ops-revoked', 'scheduled');
  });

  test('deleted by its owner: restore creates the event again, and says who asked', async () => {
    await connect('deleter');
    await pay('deleter', 'ops-deleted', { start: '2032-03-05T10:00:00Z', end: '2032-03-05T11:00:00Z' });
    await becomes('ops-deleted', 'scheduled');
    expect((await ops('restore', 'ops-deleted')).text).toContain('was not deleted');
    stack.google?.control.deleteEvent(ada, calendarEventId('ops-deleted', 'primary', 0));
    await checkNow('ops-deleted');
    await becomes('ops-deleted', 'deleted_by_user');
    expect((await ops('booking', 'ops-deleted')).text).toContain(
      'ops restore ops-deleted: creates its event again',
    );
    expect(await ops('restore', 'ops-deleted')).toMatchObject({ code: 0 });
    await becomes('ops-deleted', 'scheduled');
    const { booking } = await json<Story>('booking', 'ops-deleted');
    expect(booking.timeline).toContainEqual(
      expect.objectContaining({ what: 'restore requested', by: expect.stringMatching(/./) }),
    );
    const answer = await fetch(`${stack.url}/bookings/ops-deleted`);
    expect(await answer.text()).not.toContain('"by"');
  });

  test('a refusal that was repaired: retry tries it at once', async () => {
    await connect('refused');
    stack.google?.control.fail({ on: 'events.insert', how: { status: 400, reason: 'invalid' } });
    await pay('refused', 'ops-refused', { start: '2032-04-05T10:00:00Z', end: '2032-04-05T11:00:00Z' });
    await becomes('ops-refused', 'failed');
    expect(await ops('retry', 'ops-refused')).toMatchObject({
      code: 0,
      text: expect.stringContaining('Handed over'),
    });
    await becomes('ops-refused', 'scheduled');
    expect((await ops('list', 'failed')).text).not.toContain('ops-refused');
  });
});

/** Makes a check due that is due in years, and has it run. */
async function checkNow(bookingId: string): Promise<void> {
  const client = dynamoDbClient(stack.endpoints.dynamodb);
  await client.send(
    new UpdateItemCommand({
      TableName: stack.outputs.BookingsTableName,
      Key: marshall({ id: `booking#${bookingId}` }),
      UpdateExpression: 'SET syncDueAt = :now',
      ExpressionAttributeValues: marshall({ ':now': Math.floor(Date.now() / 1000) - 3600 }),
    }),
  );
  client.destroy();
  expect((await ops('list', 'due')).text).toContain(bookingId);
  expect((await ops('doctor')).text).toMatch(/✗ +due bookings +.*has been due for 60 minutes/);
  await stack.invoke('booking-reconcile', {});
}

describe('find', () => {
  test('finds a user by the address of the Google account, a booking and a payment by their ids', async () => {
    await connect('findable');
    await pay('findable', 'ops-findable', { start: '2032-05-05T10:00:00Z', end: '2032-05-05T11:00:00Z' });
    await becomes('ops-findable', 'scheduled');
    expect((await ops('find', ada)).text).toMatch(/user +findable +has connected/);
    expect((await ops('find', 'ops-findable')).text).toMatch(/booking +ops-findable +scheduled/);
    expect((await ops('find', 'pi_ops-findable')).text).toMatch(
      /payment +pi_ops-findable +of booking ops-findable/,
    );
    expect((await ops('payment', 'pi_ops-findable')).text).toMatch(/standing +paid since .*9000/);
    expect((await ops('user', 'findable')).text).toMatch(/2032-05-05T10:00:00Z {2}ops-findable {2}scheduled/);
    expect(await ops('find', 'nothing')).toMatchObject({
      code: 1,
      text: expect.stringContaining('Nothing has the id'),
    });
    expect(await ops('payment', 'pi_nothing')).toMatchObject({ code: 1 });
  });
});

describe('dead letters', () => {
  test('are shown without their contents, and moved back', async () => {
    const { DeadLettersUrl: url = '' } = stack.outputs;
    const sqs = new SQSClient({
      region: 'us-east-1',
      credentials: localCredentials,
      endpoint: stack.endpoints.sqs,
      useQueueUrlAsEndpoint: false,
    });
    const body = JSON.stringify({ type: 'sync', bookingId: 'ops-findable', cause: 'a secret text' });
    await sqs.send(
      new SendMessageCommand({
        QueueUrl: url,
        MessageBody: body,
        MessageGroupId: 'g',
        MessageDeduplicationId: 'd',
      }),
    );
    sqs.destroy();
    expect((await ops('doctor')).text).toMatch(/✗ +dead letters +1: ops dead-letters/);
    const shown = await ops('dead-letters');
    expect(shown.text).toMatch(/sync ops-findable/);
    expect(shown.text).not.toContain('a secret text');
    await expect
      .poll(async () => (await ops('dead-letters', '--redrive')).text, { timeout: 30_000, interval: 6000 })
      .toContain('Moved back');
    expect((await ops('dead-letters')).text).toContain('No dead letters.');
  }, 60_000);
});

describe('doctor', () => {
  const googleClient = () => stack.secretNames.googleClient;

  test.each<[string, () => string, object, RegExp]>([
    ['a missing entry', googleClient, { web: { client_id: 'x' } }, /✗ +Google client +.*client_secret/],
    [
      'an unknown client',
      googleClient,
      { web: { client_id: 'x', client_secret: 'y' } },
      /✗ +Google client +Google does not know it/,
    ],
    [
      'no signing secret',
      () => stack.secretNames.webhookSigning,
      {},
      /✗ +secret webhook-signing +.*no signing secret/,
    ],
    [
      'one unusable signing secret',
      () => stack.secretNames.webhookSigning,
      { stripe: ['whsec_of_stripe_0123456789abcdef'], standard: ['short'] },
      /! +secret webhook-signing +An entry cannot be used/,
    ],
    [
      'keys of another purpose',
      () => stack.secretNames.keys['api-signing'],
      { purpose: 'link-signing' },
      /✗ +secret api-signing/,
    ],
  ])('finds %s', async (_, name, value, finding) => {
    const before = stack.secrets.get(name()) as string;
    stack.secrets.put(name(), JSON.stringify(value));
    const { text } = await ops('doctor');
    stack.secrets.put(name(), before);
    expect(text).toMatch(finding);
    for (const secret of Object.values(stack.secretNames.keys).map((key) => stack.secrets.get(key) as string))
      expect(text).not.toContain(JSON.parse(secret).initial);
  });

  test('passes where nothing is wrong but failed bookings', async () => {
    await stack.invoke('booking-reconcile', {});
    await stack.invoke('token-refresh', {});
    const { code, text } = await ops('doctor');
    expect(text).toMatch(/! +failed bookings +1: ops list failed/);
    expect(text).toMatch(/✓ +service level +100 % of \d+ paid bookings were in the calendar within 60 s/);
    expect(text).toMatch(/✓ +schedules +booking-reconcile ran \d+ times, token-refresh ran \d+ times/);
    expect(text).toMatch(/✓ +webhooks +\d+ verified, 0 rejected/);
    expect(text).not.toContain('✗');
    expect(code).toBe(0);
  });
});

describe('webhooks', () => {
  test('are counted by outcome and reason, without their contents', async () => {
    const { url } = stack;
    const wrong = await fetch(`${url}/webhooks/stripe`, {
      method: 'POST',
      body: '{}',
      headers: { 'stripe-signature': 't=1,v1=00' },
    });
    expect(wrong.status).toBe(400);
    const counted =
      await json<{ outcome: string; provider?: string; reason?: string; count: number }[]>('webhooks');
    expect(counted).toContainEqual({ outcome: 'verified', provider: 'stripe', count: expect.any(Number) });
    const rejected = counted.filter(({ outcome }) => outcome === 'rejected');
    expect(rejected).toEqual([
      {
        outcome: 'rejected',
        provider: 'stripe',
        reason: expect.stringMatching(/^(signature|timestamp)/),
        count: 1,
      },
    ]);
    expect((await ops('webhooks')).text).toMatch(/rejected +stripe +/);
  });
});

test.each([
  [[], 0, /npm run ops -- <command>/],
  [['fnd', 'x'], 1, /did you mean find\?/],
  [['booking'], 1, /needs the id of a booking/],
  [['booking', 'a', 'b'], 1, /takes no "b"/],
  [['list', 'faild'], 1, /did you mean failed\?/],
  [['list', 'failed', '--limit', '0'], 1, /from 1 to 100000/],
  [['booking', 'unknown'], 1, /no booking "unknown"/],
  [['doctor', '--env', 'example'], 1, /--local, or --env/],
  [['env'], 0, /^export ApiUrl='http:/m],
])('ops %j is answered in one sentence', async (args, code, answer) => {
  const ran = await ops(...args);
  expect(ran.text).toMatch(answer);
  expect(ran.text).not.toMatch(/^\s+at /m);
  expect(ran.code).toBe(code);
});
