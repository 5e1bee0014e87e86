import { GetQueueAttributesCommand, ReceiveMessageCommand, SendMessageCommand } from '@aws-sdk/client-sqs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { handledMessages } from '../../infra/local/aws/event-source.ts';
import { sqsClient, startQueues } from '../../infra/local/aws/queues.ts';
import { lambda, run, temporaryDirectory, writeAssembly } from './local-assembly.ts';

describe('handled messages of a batch', () => {
  const messages = [{ MessageId: 'a' }, { MessageId: 'b' }, { MessageId: 'c' }];
  const all = ['a', 'b', 'c'];
  const failing = (...ids: unknown[]) => ({
    batchItemFailures: ids.map((itemIdentifier) => ({ itemIdentifier })),
  });
  test.each([
    ['nothing is answered', null, all],
    ['the answer is empty', {}, all],
    ['the list is empty', { batchItemFailures: [] }, all],
    ['one failed', failing('b'), ['a', 'c']],
    ['the rest failed after the first', failing('b', 'c'), ['a']],
    ['the list is null', { batchItemFailures: null }, all],
    ['an identifier is unknown', failing('b', 'z'), []],
    ['an identifier is empty', failing(''), []],
    ['an identifier is null', failing(null), []],
    ['the key is wrong', { batchItemFailures: [{ id: 'b' }] }, []],
    ['the list is no list', { batchItemFailures: 'b' }, []],
    ['the answer has another key', { failures: [] }, []],
    ['the answer is text', 'fine', []],
  ])('handled messages of a batch: %s', (_what, payload, handled) => {
    const answer = handledMessages(messages, { ok: true, payload }, true);
    expect(answer.handled.map(({ MessageId }) => MessageId)).toEqual(handled);
  });

  test('a failed invocation handles no message', () => {
    const error = { errorType: 'Error', errorMessage: '', trace: [] };
    expect(handledMessages(messages, { ok: false, error }, true).handled).toEqual([]);
  });

  test('without item failures any answer handles all messages', () => {
    expect(handledMessages(messages, { ok: true, payload: failing('a') }, false).handled).toEqual(messages);
  });
});

const queues = {
  Dead: { Type: 'AWS::SQS::Queue', Properties: { QueueName: 'dead.fifo', FifoQueue: true } },
  Work: {
    Type: 'AWS::SQS::Queue',
    Properties: {
      QueueName: 'work.fifo',
      FifoQueue: true,
      DeduplicationScope: 'messageGroup',
      FifoThroughputLimit: 'perMessageGroupId',
      VisibilityTimeout: 1,
      RedrivePolicy: { deadLetterTargetArn: { 'Fn::GetAtt': ['Dead', 'Arn'] }, maxReceiveCount: 2 },
    },
  },
};

/** Logs each record; fails items whose body says so, and all after them. */
const worker = `export const handler = async ({ Records }) => {
  for (const { body } of Records) console.log(body);
  const first = Records.findIndex(({ body }) => body.includes('fail'));
  if (first < 0) return { batchItemFailures: [] };
  return { batchItemFailures: Records.slice(first).map(({ messageId }) => ({ itemIdentifier: messageId })) };
};`;

async function startWorker(source = worker, stateDir?: string, timeout = 1) {
  const assembly = writeAssembly(
    {
      ...queues,
      Worker: lambda('worker', { Timeout: timeout }),
      Mapping: {
        Type: 'AWS::Lambda::EventSourceMapping',
        Properties: {
          EventSourceArn: { 'Fn::GetAtt': ['Work', 'Arn'] },
          FunctionName: { Ref: 'Worker' },
          BatchSize: 10,
          FunctionResponseTypes: ['ReportBatchItemFailures'],
          ScalingConfig: { MaximumConcurrency: 2 },
        },
      },
    },
    { worker: source },
  );
  const runner = await run(assembly, stateDir ? { stateDir } : {});
  const client = sqsClient(runner.endpoints.sqs);
  onTestFinished(() => client.destroy());
  const send = (group: string, body: string) =>
    client.send(
      new SendMessageCommand({
        QueueUrl: `${runner.endpoints.sqs}/000000000000/work.fifo`,
        MessageBody: body,
        MessageGroupId: group,
        MessageDeduplicationId: `${group} ${body}`,
        MessageAttributes: { kind: { DataType: 'String', StringValue: 'test' } },
      }),
    );
  const written = () =>
    runner
      .logs()
      .filter(({ stream }) => stream === 'stdout')
      .map(({ text }) => text);
  return { ...runner, client, send, written };
}

test('deletes a handled message, and processes its group in order', async () => {
  const { send, written, queues: local } = await startWorker();
  for (const body of ['1', '2', '3', '4']) await send('group', body);
  await expect.poll(written).toEqual(['1', '2', '3', '4']);
  await expect.poll(() => local.messages('work.fifo')).toEqual({ ready: [], inFlight: [] });
});

test('a failed message blocks only its group, is redelivered and dead-letters', async () => {
  const { send, written, queues: local } = await startWorker();
  await send('one', 'fail');
  await send('one', 'after');
  await send('two', 'other');
  await expect.poll(written).toContain('other');
  expect(written()).not.toContain('after');
  await expect.poll(written, { timeout: 8000 }).toContain('after');
  expect(written().filter((text) => text === 'fail')).toHaveLength(2);
  await expect.poll(() => local.messages('dead.fifo').ready).toEqual(['fail']);
}, 10_000);

test('a function that throws leaves its messages in the queue', async () => {
  const {
    send,
    queues: local,
    logs,
  } = await startWorker('export const handler = async () => { throw new Error("no"); };');
  await send('group', 'body');
  await expect.poll(() => logs().map(({ text }) => text)).toContain('Error: no');
  expect(local.messages('work.fifo').inFlight).toEqual(['body']);
});

test('an existing SQS keeps its messages, and its queues follow the template', async () => {
  const there = await startQueues();
  onTestFinished(() => there.close());
  const workQueue = (VisibilityTimeout: number) =>
    writeAssembly({
      ...queues,
      Work: { ...queues.Work, Properties: { ...queues.Work.Properties, VisibilityTimeout } },
    });
  const first = await run(workQueue(1), { queues: { endpoint: there.endpoint } });
  const client = sqsClient(first.endpoints.sqs);
  onTestFinished(() => client.destroy());
  const QueueUrl = `${there.endpoint}/000000000000/work.fifo`;
  const one = { MessageGroupId: 'group', MessageDeduplicationId: 'one' };
  await client.send(new SendMessageCommand({ QueueUrl, MessageBody: 'kept', ...one }));
  await first.close();
  await run(workQueue(7), { queues: { endpoint: there.endpoint } });
  expect(there.messages('work.fifo')).toEqual({ ready: ['kept'], inFlight: [] });
  const { Attributes } = await client.send(
    new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['VisibilityTimeout', 'FifoQueue'] }),
  );
  expect(Attributes).toEqual({ VisibilityTimeout: '7', FifoQueue: 'true' });
});

test('a queue record has the shape that Lambda sends', async () => {
  const { send, logs } = await startWorker(
    'export const handler = async ({ Records }) => { console.log(JSON.stringify(Records[0])); };',
  );
  await send('group', 'body');
  await expect.poll(() => logs().length).toBeGreaterThan(0);
  expect(JSON.parse(logs()[0]?.text ?? '')).toEqual({
    messageId: expect.any(String),
    receiptHandle: expect.any(String),
    body: 'body',
    md5OfBody: '841a2d689ad86bd1611447453c22c6fc',
    attributes: {
      ApproximateReceiveCount: '1',
      SentTimestamp: expect.stringMatching(/^\d{13}$/),
      SenderId: expect.any(String),
      MessageGroupId: 'group',
      MessageDeduplicationId: 'group body',
      SequenceNumber: expect.stringMatching(/^\d{20}$/),
      ApproximateFirstReceiveTimestamp: expect.stringMatching(/^\d{13}$/),
    },
    messageAttributes: {
      kind: { dataType: 'String', stringValue: 'test', stringListValues: [], binaryListValues: [] },
    },
    eventSource: 'aws:sqs',
    eventSourceARN: 'arn:aws:sqs:us-east-1:000000000000:work.fifo',
    awsRegion: 'us-east-1',
  });
});

test('refuses a visibility timeout below that of the function, as Lambda does', async () => {
  await expect(startWorker(worker, undefined, 2)).rejects.toThrow('visibility timeout of Work (1 s)');
});

test('messages survive a restart', async () => {
  const stateDir = temporaryDirectory();
  const idle = writeAssembly(queues);
  const before = await run(idle, { stateDir });
  const client = sqsClient(before.endpoints.sqs);
  const QueueUrl = `${before.endpoints.sqs}/000000000000/work.fifo`;
  await client.send(
    new SendMessageCommand({
      QueueUrl,
      MessageBody: 'kept',
      MessageGroupId: 'g',
      MessageDeduplicationId: 'd',
    }),
  );
  client.destroy();
  await before.close();

  const { written } = await startWorker(worker, stateDir);
  await expect.poll(written).toEqual(['kept']);
});

test('a queue without a consumer keeps its messages', async () => {
  const { endpoints } = await run(writeAssembly(queues));
  const client = sqsClient(endpoints.sqs);
  onTestFinished(() => client.destroy());
  const QueueUrl = `${endpoints.sqs}/000000000000/work.fifo`;
  await client.send(
    new SendMessageCommand({
      QueueUrl,
      MessageBody: 'body',
      MessageGroupId: 'g',
      MessageDeduplicationId: 'd',
    }),
  );
  const { Messages } = await client.send(new ReceiveMessageCommand({ QueueUrl }));
  expect(Messages?.map(({ Body }) => Body)).toEqual(['body']);
});
