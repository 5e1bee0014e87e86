import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { CreateQueueCommand, SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { marshall } from '@aws-sdk/util-dynamodb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTarget, type Target } from '../../infra/cli/ops/target.ts';
import { post, receiveUndelivered } from '../../infra/cli/ops/undelivered.ts';
import { dynamoDbClient, localCredentials } from '../../infra/local/aws/dynamodb.ts';
import { calendarEventId } from '../../shared/booking/booking.ts';
import { type OpsStack, startOpsStack } from './ops-stack.ts';
import { ada, ben } from './world.ts';

let on: OpsStack;
let stack: OpsStack['stack'];

beforeAll(async () => {
  on = await startOpsStack();
  ({ stack } = on);
});
afterAll(() => on?.stack.close());

const ops = (...args: string[]) => on.ops(...args);
const json = <T>(...args: string[]) => on.json<T>(...args);
const becomes = (id: string, status: string) => on.becomes(id, status);
const connect = (userId: string, account?: string) => on.connect(userId, account);
const pay = (userId: string, bookingId: string, more?: object) => on.pay(userId, bookingId, more);
type Story = {
  booking: { status: string; problems: { code: string }[]; timeline: { what: string; by?: string }[] };
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

describe('undelivered events', () => {
  let receiver: Server;
  let received: { body: unknown; key: unknown }[];
  let status: number;
  let target: Target;
  let QueueUrl: string;
  beforeAll(async () => {
    receiver = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk);
      received.push({
        body: JSON.parse(Buffer.concat(chunks).toString()),
        key: request.headers['x-api-key'],
      });
      response.writeHead(status).end();
    });
    await new Promise<void>((listening) => receiver.listen(0, '127.0.0.1', listening));
    const local = await openTarget({ local: true, state: on.state });
    ({ QueueUrl = '' } = await local.sqs.send(new CreateQueueCommand({ QueueName: 'undelivered' })));
    const { port } = receiver.address() as AddressInfo;
    const outputs: Record<string, string> = {
      UndeliveredEventsUrl: QueueUrl,
      EventsUrl: `http://127.0.0.1:${port}/events`,
    };
    target = { ...local, output: (name) => outputs[name] ?? local.output(name) };
  });
  afterAll(() => new Promise((closed) => receiver.close(closed)));

  const detail = {
    id: 'booking.scheduled:b:1-1.1',
    type: 'booking.scheduled',
    time: '2026-11-23T08:00:00Z',
    userId: 'ada',
  };
  const sendBack = (body: object) =>
    target.sqs.send(
      new SendMessageCommand({
        QueueUrl,
        MessageBody: JSON.stringify(body),
        MessageAttributes: { ERROR_CODE: { DataType: 'String', StringValue: 'SDK_CLIENT_ERROR' } },
      }),
    );

  test('are shown with their error, posted with the key, and deleted when they are taken', async () => {
    await sendBack({ source: 'leadscalendar.google-calendar', detail });
    received = [];
    status = 503;
    const [event] = await receiveUndelivered(target, 0);
    expect(event).toMatchObject({ id: detail.id, type: detail.type, why: 'SDK_CLIENT_ERROR' });
    if (!event) return;
    await expect(post(target, event, 'the key')).rejects.toThrow(/answers 503 .* stays in the queue/);
    status = 200;
    const [again] = await receiveUndelivered(target, 0);
    expect(again?.id).toBe(detail.id);
    if (again) await post(target, again, 'the key');
    expect(received).toEqual([
      { body: detail, key: 'the key' },
      { body: detail, key: 'the key' },
    ]);
    expect(await receiveUndelivered(target, 0)).toEqual([]);
  });

  test('a message that is no event of this service is shown, and not posted', async () => {
    await sendBack({ hello: 'world' });
    received = [];
    const [event] = await receiveUndelivered(target, 0);
    expect(event?.type).toBe('not an event of this service');
    if (event) await expect(post(target, event, 'the key')).rejects.toThrow('look at it in SQS');
    expect(received).toEqual([]);
  });

  test('a stack without eventsUrl says so', async () => {
    expect(await ops('undelivered')).toMatchObject({
      code: 1,
      text: expect.stringContaining('UndeliveredEventsUrl'),
    });
  });
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
    await stack.invoke('payment-recovery', {});
    await stack.invoke('audit', {});
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
