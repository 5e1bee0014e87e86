/**
 * The door between the functions and the services of AWS: checks the rights of the function that calls, and counts
 * calls. Each function signs with an access key of its own, its name, so every request says who sent it.
 */
import {
  createServer,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { buffer } from 'node:stream/consumers';
import { type AwsError, awsError } from './aws-json.ts';
import { localCredentials } from './dynamodb.ts';
import { closeServer, listen } from './ports.ts';
import type { AwsInput, Rights, Service } from './rights.ts';

/**
 * A call of a function. `resource` is what follows region and account in its ARN: `table/Bookings/index/waiting`;
 * several are separated by commas. `status` is 0 where the function went away before the answer.
 */
export type AwsCall = {
  functionName: string;
  service: Service;
  operation: string;
  resource: string;
  status: number;
  ms: number;
};

export type Gateway = {
  url: string;
  /** Starts to check; before that every call passes. `onRefusal` is told which right is missing. */
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
const keptCalls = 10_000;

/** @param upstreams where each service answers */
export async function startGateway(upstreams: Record<Service, string>): Promise<Gateway> {
  const forwarder = createForwarder();
  const calls: AwsCall[] = [];
  let check: Rights['check'] = () => ({ resources: [] });
  let onRefusal: (functionName: string, advice: string) => void = () => {};

  const record = (call: AwsCall) => {
    calls.push(call);
    if (calls.length > keptCalls) calls.shift();
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
    const { resources, refusal } = check(functionName, { service, operation, input: parse(body) });
    response.once('close', () => {
      const resource = resources.map(withoutAccount).join(', ');
      const ms = performance.now() - startedAt;
      const status = response.headersSent ? response.statusCode : 0;
      record({ functionName, service, operation, resource, status, ms });
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
    guard(rights, tell) {
      check = rights.check;
      onRefusal = tell;
    },
    calls: () => [...calls],
    clearCalls: () => calls.splice(0),
    async close() {
      await closeServer(server);
      forwarder.close();
    },
  };
}

const accessKey = /Credential=([^/,\s]+)/;

function senderOf({ headers }: IncomingMessage): string {
  return accessKey.exec(headers.authorization ?? '')?.[1] ?? 'unknown';
}

/**
 * The signature under the access key that the tables were created with: some local services keep a world for each
 * access key, and some refuse one with a hyphen. None checks the signature.
 */
function disguised(authorization: string): string {
  return authorization.replace(accessKey, `Credential=${localCredentials.accessKeyId}`);
}

/** A body that is no JSON names no resource; the service refuses it better than we could. */
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

/** Passes requests on over connections that are kept open. */
function createForwarder() {
  const http = new HttpAgent({ keepAlive: true });
  const https = new HttpsAgent({ keepAlive: true });
  return {
    forward(
      request: IncomingMessage,
      body: Buffer,
      upstream: string,
      response: ServerResponse,
    ): Promise<void> {
      return new Promise((resolve, reject) => {
        const url = new URL(upstream);
        const { host: _, authorization, ...others } = request.headers;
        const headers = { ...others, ...(authorization ? { authorization: disguised(authorization) } : {}) };
        const options = { method: 'POST', headers, path: url.pathname };
        const passed =
          url.protocol === 'https:'
            ? httpsRequest(url, { ...options, agent: https })
            : httpRequest(url, { ...options, agent: http });
        passed.once('error', reject);
        passed.once('response', (answer) => {
          response.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(response);
          answer.once('error', reject);
          answer.once('end', resolve);
        });
        // A function that is ended does not wait for its answer any more.
        response.once('close', () => {
          if (!response.writableFinished) passed.destroy();
        });
        passed.end(body);
      });
    },
    close() {
      http.destroy();
      https.destroy();
    },
  };
}
