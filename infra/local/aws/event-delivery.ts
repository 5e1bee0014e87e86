/**
 * Rules on this machine, with two kinds of targets: an API destination gets the detail of an event by HTTP, with retries
 * and a dead-letter queue; an SQS queue gets the whole event. Running deliveries end with the stack.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { SendMessageCommand, type SQSClient } from '@aws-sdk/client-sqs';
import * as v from 'valibot';
import { redactedMessages } from '../../../shared/lib/schemas.ts';
import type { BusEvent } from './event-bus.ts';
import type { ResolvedResource } from './resources.ts';
import { accountId, region } from './template.ts';

/** A missing list matches all. */
type Pattern = { bus: string; sources: string[]; detailTypes?: string[] | undefined };
type ToQueue = Pattern & { queueUrl: string };
type ToUrl = Pattern & {
  url: string;
  request: RequestInit;
  retries: number;
  deadLetterQueueUrl: string;
};
type Delivery = ToQueue | ToUrl;

const Rule = v.object({
  EventBusName: v.string(),
  EventPattern: v.strictObject({
    source: v.array(v.string()),
    'detail-type': v.optional(v.array(v.string())),
  }),
  Targets: v.array(
    v.object({
      Arn: v.string(),
      InputPath: v.optional(v.literal('$.detail')),
      RetryPolicy: v.object({ MaximumRetryAttempts: v.number() }),
      DeadLetterConfig: v.object({ Arn: v.string() }),
    }),
  ),
});
const ApiDestination = v.object({
  ConnectionArn: v.string(),
  InvocationEndpoint: v.string(),
  HttpMethod: v.string(),
});
const Connection = v.object({
  AuthParameters: v.object({
    ApiKeyAuthParameters: v.object({ ApiKeyName: v.string(), ApiKeyValue: v.string() }),
  }),
});

/**
 * Reads the deliveries that the template declares.
 * @param secretOf the value of a secret by its ARN
 * @throws Error on a rule with unsupported properties
 */
export function readEventDeliveries(
  resourcesOf: (...types: string[]) => ResolvedResource[],
  secretOf: (arn: string) => string | undefined,
): Delivery[] {
  const find = (type: string, arn: string): ResolvedResource => {
    const found = resourcesOf(type).find((resource) => resource.arn === arn);
    if (!found) throw new Error(`The local stack finds no ${type} of the template with the ARN ${arn}.`);
    return found;
  };
  return resourcesOf('AWS::Events::Rule').flatMap((rule) => {
    const { EventBusName: bus, EventPattern, Targets } = read(Rule, rule);
    const pattern = { bus, sources: EventPattern.source, detailTypes: EventPattern['detail-type'] };
    return Targets.map(({ Arn, InputPath, RetryPolicy, DeadLetterConfig }) => {
      if (InputPath === undefined) return { ...pattern, queueUrl: find('AWS::SQS::Queue', Arn).ref };
      const destination = read(ApiDestination, find('AWS::Events::ApiDestination', Arn));
      const connection = read(Connection, find('AWS::Events::Connection', destination.ConnectionArn));
      const { ApiKeyName, ApiKeyValue } = connection.AuthParameters.ApiKeyAuthParameters;
      const key = ApiKeyValue.replace(
        /^\{\{resolve:secretsmanager:(.+):SecretString:::\}\}$/,
        (_, arn) => secretOf(arn) ?? '',
      );
      const headers = { 'content-type': 'application/json', [ApiKeyName]: key };
      return {
        ...pattern,
        url: destination.InvocationEndpoint,
        request: { method: destination.HttpMethod, headers, redirect: 'manual' as const },
        retries: RetryPolicy.MaximumRetryAttempts,
        deadLetterQueueUrl: find('AWS::SQS::Queue', DeadLetterConfig.Arn).ref,
      };
    });
  });
}

function read<Schema extends v.GenericSchema>(
  schema: Schema,
  resource: ResolvedResource,
): v.InferOutput<Schema> {
  const parsed = v.safeParse(schema, resource.properties, redactedMessages);
  if (parsed.success) return parsed.output;
  throw new Error(
    `The local stack cannot deliver events as ${resource.logicalId} says; see infra/local/aws/event-delivery.ts.\n${v.summarize(parsed.issues)}`,
  );
}

/**
 * Returns a function that delivers each event, and one that stops all deliveries. Calls `tell` after each failed
 * attempt.
 */
export function startEventDeliveries(deliveries: Delivery[], sqs: SQSClient, report: (text: string) => void) {
  const stopping = new AbortController();
  const { signal } = stopping;
  const send = (QueueUrl: string, MessageBody: string) =>
    sqs.send(new SendMessageCommand({ QueueUrl, MessageBody }));
  const deliver = async (event: BusEvent, delivery: Delivery): Promise<void> => {
    if ('queueUrl' in delivery) await send(delivery.queueUrl, JSON.stringify(envelope(event)));
    else await deliverByPost(event, delivery);
  };
  const deliverByPost = async ({ detailType, detail }: BusEvent, delivery: ToUrl): Promise<void> => {
    const body = JSON.stringify(detail);
    for (let attempt = 0; ; attempt++) {
      const status = await post(delivery, body, signal);
      if ((status >= 200 && status < 300) || signal.aborted) return;
      report(`${detailType} could not be posted to ${delivery.url}: ${status || 'no answer'}`);
      if ((status && status !== 429 && status < 500) || attempt >= delivery.retries) break;
      await sleep(Math.min(250 * 2 ** attempt, 60_000), undefined, { signal });
    }
    await send(delivery.deadLetterQueueUrl, body);
  };
  const onEvent = (event: BusEvent): void => {
    const matching = deliveries.filter(
      ({ bus, sources, detailTypes }) =>
        bus === event.bus &&
        sources.includes(event.source) &&
        (detailTypes?.includes(event.detailType) ?? true),
    );
    for (const delivery of matching) {
      deliver(event, delivery).catch(
        (error: unknown) => signal.aborted || report(`${event.detailType} is lost: ${error}`),
      );
    }
  };
  return { onEvent, stop: () => stopping.abort() };
}

/** An event as a target gets it that has no part of its own. */
function envelope({ id, source, detailType, time, detail }: BusEvent) {
  return {
    version: '0',
    id,
    'detail-type': detailType,
    source,
    account: accountId,
    time,
    region,
    resources: [],
    detail,
  };
}

/** The status of the answer, or 0 without an answer within five seconds, as EventBridge times out. */
async function post({ url, request }: ToUrl, body: string, stopping: AbortSignal): Promise<number> {
  const signal = AbortSignal.any([stopping, AbortSignal.timeout(5000)]);
  const response = await fetch(url, { ...request, body, signal }).catch(() => undefined);
  await response?.body?.cancel();
  return response?.status ?? 0;
}
