/**
 * Every AWS call of a function passes this gateway, which checks its permissions and counts calls. Each function
 * signs with its name as access key, so every request identifies its sender.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { closeServer, listen } from '../ports.ts';
import { type AwsError, awsError } from './aws-json.ts';
import { accessKey, createForwarder } from './forwarder.ts';
import type { AwsInput, Rights, Service } from './rights.ts';

/**
 * A call of a function. `resource` follows region and account in the ARN (`table/Bookings/index/waiting`), joined
 * by commas for several. `status` is 0 if the function ended before the answer.
 */
export type AwsCall = {
  functionName: string;
  service: Service;
  operation: string;
  resource: string;
  status: number;
  ms: number;
};

type Gateway = {
  url: string;
  /** Starts to check; before that every call passes. Calls `onRefusal` with each missing permission. */
  guard(rights: Rights, onRefusal: (functionName: string, advice: string) => void): void;
  /** The latest calls of functions, oldest first. */
  calls(): AwsCall[];
  clearCalls(): void;
  close(): Promise<void>;
};

/** Services by the prefix of `X-Amz-Target`. */
const services: Record<string, Service> = {
  DynamoDB_20120810: 'dynamodb',
  AmazonSQS: 'sqs',
  secretsmanager: 'secretsmanager',
  AWSEvents: 'events',
};
const maxCalls = 10_000;

/** Called after each answer, with the request. */
export type OnCall = (call: AwsCall, input: AwsInput) => void;

/** @param upstreams where each service answers */
export async function startGateway(
  upstreams: Record<Service, string>,
  onCall: OnCall = () => {},
): Promise<Gateway> {
  const forwarder = createForwarder();
  const calls: AwsCall[] = [];
  let check: Rights['check'] = () => ({ resources: [] });
  let onRefusal: (functionName: string, advice: string) => void = () => {};

  const record = (call: AwsCall, input: AwsInput) => {
    calls.push(call);
    if (calls.length > maxCalls) calls.shift();
    onCall(call, input);
  };
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const startedAt = performance.now();
    const [prefix = '', operation = ''] = String(request.headers['x-amz-target']).split('.');
    const service = services[prefix];
    const body = await buffer(request);
    if (!service) {
      const message = `The local stack has no service for "${request.headers['x-amz-target']}".`;
      return refuse(response, awsError('UnknownOperationException', message));
    }
    const functionName = senderOf(request);
    const input = parse(body);
    const { resources, refusal } = check(functionName, { service, operation, input });
    response.once('close', () => {
      const resource = resources.map(withoutAccount).join(', ');
      const ms = performance.now() - startedAt;
      const status = response.headersSent ? response.statusCode : 0;
      record({ functionName, service, operation, resource, status, ms }, input);
    });
    if (!refusal) return forwarder.forward(request, body, upstreams[service], response);
    onRefusal(functionName, refusal.advice);
    refuse(response, refusal.error);
  };

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => refuse(response, internal(error)));
  });
  const port = await listen(server, 0);
  return {
    url: `http://127.0.0.1:${port}`,
    guard(rights, report) {
      check = rights.check;
      onRefusal = report;
    },
    calls: () => [...calls],
    clearCalls: () => calls.splice(0),
    async close() {
      await closeServer(server);
      forwarder.close();
    },
  };
}

function senderOf({ headers }: IncomingMessage): string {
  return accessKey.exec(headers.authorization ?? '')?.[1] ?? 'unknown';
}

/** A body that is not JSON names no resource; the service answers it with its own error. */
function parse(body: Buffer): AwsInput {
  try {
    return JSON.parse(body.toString('utf8')) as AwsInput;
  } catch {
    return {};
  }
}

function withoutAccount(arn: string): string {
  return arn.split(':').slice(5).join(':') || arn;
}

function internal(error: unknown): AwsError {
  const message = error instanceof Error ? error.message : String(error);
  return awsError('InternalFailure', `The local service did not answer: ${message}`, 500);
}

function refuse(response: ServerResponse, { status, type, message }: AwsError): void {
  if (response.headersSent) return void response.destroy();
  response.writeHead(status, { 'content-type': 'application/x-amz-json-1.0' });
  response.end(JSON.stringify({ __type: `com.amazon.coral.service#${type}`, Message: message }));
}
