import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { GetItemCommand } from '@aws-sdk/client-dynamodb';
import { DeleteMessageCommand, ReceiveMessageCommand, SendMessageCommand } from '@aws-sdk/client-sqs';
import { expect, inject, onTestFinished, test, vi } from 'vitest';
import { connectUser, payForBooking } from '../../infra/cli/demo-user.ts';
import { demoBooking } from '../../infra/cli/payment.ts';
import { dynamoDbClient } from '../../infra/local/aws/dynamodb.ts';
import { sqsClient } from '../../infra/local/aws/queues.ts';
import { resolveResources } from '../../infra/local/aws/resources.ts';
import { accountId, readAssembly } from '../../infra/local/aws/template.ts';
import { functionConfig } from '../../infra/local/aws/wiring.ts';
import { startLocalStack } from '../../infra/local/stack.ts';
import { type PaymentReported, paymentQueue } from '../../shared/booking/queue.ts';
import { parseKeys } from '../../shared/crypto/keys.ts';
import { chaosAssembly } from '../chaos/assembly.ts';
import { cachedSecret } from '../fakes/secret.ts';
import { temporaryDirectory } from '../local-stack/local-assembly.ts';
import { ada } from './world.ts';

const packages = createRequire(import.meta.url);
/**
 * An intruder's code in a function: makes each call on request, with the permissions and variables of that
 * function.
 */
const intruder = `
const { SQSClient, SendMessageCommand } = require(${JSON.stringify(packages.resolve('@aws-sdk/client-sqs'))});
const { SecretsManagerClient, GetSecretValueCommand } = require(${JSON.stringify(packages.resolve('@aws-sdk/client-secrets-manager'))});
exports.handler = async ({ send, read }) => {
  try {
    if (send) await new SQSClient({}).send(new SendMessageCommand({ QueueUrl: process.env.BOOKINGS_QUEUE_URL, ...send }));
    if (read) await new SecretsManagerClient({}).send(new GetSecretValueCommand({ SecretId: read }));
    return 'done';
  } catch ({ name }) {
    return name;
  }
};`;

/** A stack in which one function runs other code. Messages reappear after 2 seconds. */
async function startInvaded(functionName: string) {
  const assembly = chaosAssembly(inject('assembly'), temporaryDirectory(), 2);
  const { template, assetPaths } = readAssembly(assembly);
  const functions = resolveResources(template, { apiUrl: '', queueUrlBase: '' }).resourcesOf(
    'AWS::Lambda::Function',
  );
  const invaded = functions
    .map((each) => functionConfig(each, assetPaths, {}))
    .find(({ name }) => name === functionName);
  writeFileSync(join(invaded?.directory as string, 'index.cjs'), intruder);
  const stack = await startLocalStack({ google: { kind: 'simulator' }, schedules: false, assembly });
  onTestFinished(() => stack.close());
  return stack;
}

const payment = (bookingId: string): PaymentReported => {
  const startsAt = Math.floor(Date.now() / 1000) + 30 * 86_400;
  const at = (seconds: number) => ({ dateTime: new Date(seconds * 1000).toISOString() });
  return {
    type: 'payment',
    paymentId: `pi_${bookingId}`,
    eventId: `evt_${bookingId}`,
    facts: { confirmedAt: new Date().toISOString(), amount: 9000 },
    booking: {
      bookingId,
      userId: 'user-a',
      appointment: {
        summary: bookingId,
        start: at(startsAt),
        end: at(startsAt + 3600),
        startsAt,
        endsAt: startsAt + 3600,
      },
      problems: [],
    },
  };
};

vi.setConfig({ testTimeout: 90_000 });

test('the permissions of booking-reconcile do not suffice to forge a payment', async () => {
  const stack = await startInvaded('booking-reconcile');
  const { secrets, secretNames, endpoints, queues } = stack;
  const name = secretNames.keys['payment-messages'];
  const dynamo = dynamoDbClient(endpoints.dynamodb);
  const sqs = sqsClient(endpoints.sqs);
  onTestFinished(() => void [dynamo.destroy(), sqs.destroy()]);
  await connectUser(stack, { userId: 'user-a', account: ada, now: Date.now() });

  const deadLetters = () =>
    queues
      .messages('DeadLetters.fifo')
      .ready.map((body) => JSON.parse(body).paymentId)
      .sort();
  const events = () => stack.google?.control.events(ada).map(({ summary }) => summary);
  const logLines = () =>
    stack
      .logs()
      .filter(({ functionName }) => functionName === 'booking-sync')
      .map(({ text }) => (text.startsWith('{') ? JSON.parse(text) : {}));
  const alarms = () => logLines().filter((line) => line.OperatorError === 1).length;
  const isStored = async (bookingId: string) => {
    const Key = { id: { S: `booking#${bookingId}` } };
    return (await dynamo.send(new GetItemCommand({ TableName: 'BookingsTable', Key }))).Item !== undefined;
  };
  const invaded = async (input: object) => {
    const result = await stack.invoke('booking-reconcile', input);
    return result.ok ? result.payload : result.error;
  };
  const forged = (bookingId: string, mac?: string) => ({
    send: {
      MessageBody: JSON.stringify({
        ...payment(bookingId),
        schemaVersion: 1,
        ...(mac === undefined ? {} : { mac }),
      }),
      MessageGroupId: bookingId,
      MessageDeduplicationId: bookingId,
    },
  });

  // The keys are unavailable for a while: the webhook's message becomes a dead letter, and is not trusted either.
  const good = secrets.get(name) as string;
  const keys = cachedSecret(parseKeys('payment-messages', good));
  secrets.put(name, '{}');
  const queueUrl = `${endpoints.sqs}/${accountId}/BookingsQueue.fifo`;
  await paymentQueue(queueUrl, keys, undefined, sqs).send(payment('paid-before'));
  await expect.poll(deadLetters, { timeout: 20_000 }).toEqual(['pi_paid-before']);
  secrets.put(name, good);

  // A dead letter that is redriven by hand, as its body alone, is still accepted.
  const from = `${endpoints.sqs}/${accountId}/DeadLetters.fifo`;
  const { Messages = [] } = await sqs.send(new ReceiveMessageCommand({ QueueUrl: from }));
  for (const { Body, ReceiptHandle } of Messages) {
    const once = { MessageGroupId: 'again', MessageDeduplicationId: 'again' };
    await sqs.send(new SendMessageCommand({ QueueUrl: queueUrl, MessageBody: Body, ...once }));
    await sqs.send(new DeleteMessageCommand({ QueueUrl: from, ReceiptHandle }));
  }
  await expect.poll(events, { timeout: 20_000 }).toEqual(['paid-before']);

  expect(await invaded({ read: secretNames.keys['payment-messages'] })).toBe('AccessDeniedException');
  const before = alarms();
  for (const message of [forged('forged-1'), forged('forged-2', `${'A'.repeat(43)}.initial`)]) {
    expect(await invaded(message)).toBe('done');
  }
  const booking = demoBooking('user-a', 'paid', Date.now());
  await payForBooking(stack, booking, { now: Date.now(), newId: 'paid' });
  await expect.poll(deadLetters, { timeout: 40_000 }).toEqual(['pi_forged-1', 'pi_forged-2']);
  expect(events()).toEqual(['paid-before', booking.summary]);
  expect(await Promise.all(['forged-1', 'forged-2', 'paid'].map(isStored))).toEqual([false, false, true]);
  expect(alarms()).toBeGreaterThan(before + 1);
  expect(logLines()).toContainEqual(
    expect.objectContaining({ level: 'ERROR', message: 'Payment message not verified' }),
  );
  expect(stack.events().map(({ detail }) => (detail as { bookingId?: string }).bookingId)).not.toContain(
    'forged-1',
  );
});
