/** A proxy in front of a function's services that records each call: DynamoDB, SQS, secrets, the bus, and Google. */
import { createServer, type IncomingMessage, request } from 'node:http';
import { closeServer, listen } from '../../infra/local/ports.ts';

export type Recorder = {
  /** The address to call instead of `upstream`. */
  before(upstream: string): Promise<string>;
  /** Calls since the last query: `PutItem`, `POST /token`. */
  take(): string[];
  close(): Promise<void>;
};

export function callRecorder(): Recorder {
  let calls: string[] = [];
  const servers: ReturnType<typeof createServer>[] = [];
  return {
    async before(upstream) {
      const server = createServer((incoming, outgoing) => {
        calls.push(nameOf(incoming));
        const { method, headers } = incoming;
        const forwarded = request(new URL(incoming.url ?? '/', upstream), { method, headers }, (answer) => {
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(outgoing);
        }).on('error', () => outgoing.destroy());
        incoming.pipe(forwarded);
      });
      servers.push(server);
      return `http://127.0.0.1:${await listen(server, 0)}`;
    },
    take() {
      const taken = calls;
      calls = [];
      return taken;
    },
    async close() {
      await Promise.all(servers.map(closeServer));
    },
  };
}

/** AWS names the operation in a header; for Google it is method and path. */
function nameOf({ method, url = '', headers }: IncomingMessage): string {
  const target = headers['x-amz-target'];
  return typeof target === 'string' ? target.replace(/^.*\./, '') : `${method} ${url.replace(/\?.*/, '')}`;
}
