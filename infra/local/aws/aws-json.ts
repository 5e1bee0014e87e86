/**
 * A server for the AWS JSON 1.1 protocol: one POST per operation, named by `X-Amz-Target`. Serves the few
 * operations of Secrets Manager and EventBridge that the functions use.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { buffer } from 'node:stream/consumers';
import * as v from 'valibot';
import { redactedMessages } from '../../../shared/lib/schemas.ts';
import { closeServer, listen } from '../ports.ts';

/** An error as AWS answers it. */
export type AwsError = { status: number; type: string; message: string };

export const awsError = (type: string, message: string, status = 400): AwsError => ({
  status,
  type,
  message,
});

/** Operations by target (`secretsmanager.GetSecretValue`). They throw an `AwsError` to refuse. */
export type Operations = Record<string, (input: unknown) => unknown>;

/** Turns a schema and a function into an operation that validates its input first. */
export function operation<Schema extends v.GenericSchema>(
  schema: Schema,
  run: (input: v.InferOutput<Schema>) => unknown,
): (input: unknown) => unknown {
  return (input) => {
    const parsed = v.safeParse(schema, input, redactedMessages);
    if (!parsed.success) throw awsError('ValidationException', v.summarize(parsed.issues));
    return run(parsed.output);
  };
}

/** Starts the server on a free port of the loopback interface. */
export async function startAwsJsonServer(
  operations: Operations,
): Promise<{ url: string; close: () => Promise<void> }> {
  const server = createServer(async (request, response) => {
    const answer = (status: number, body: unknown) => {
      response.writeHead(status, {
        'content-type': 'application/x-amz-json-1.1',
        'x-amzn-requestid': randomUUID(),
      });
      response.end(JSON.stringify(body));
    };
    try {
      const target = String(request.headers['x-amz-target']);
      const run = operations[target];
      const body = await buffer(request);
      if (!run) throw awsError('UnknownOperationException', `The local stack does not answer ${target}.`);
      answer(200, run(JSON.parse(body.toString('utf8'))));
    } catch (error) {
      const { status, type, message } = isAwsError(error)
        ? error
        : awsError('InternalFailure', error instanceof Error ? error.message : String(error), 500);
      answer(status, { __type: type, message });
    }
  });
  const port = await listen(server, 0);
  return { url: `http://127.0.0.1:${port}`, close: () => closeServer(server) };
}

function isAwsError(error: unknown): error is AwsError {
  return typeof error === 'object' && error !== null && 'status' in error && 'type' in error;
}
