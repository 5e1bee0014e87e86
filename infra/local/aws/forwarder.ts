/** Forwards requests for AWS to the local services, over keep-alive connections. */
import {
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { localCredentials } from './dynamodb.ts';

/** The access key in a signature. */
export const accessKey = /Credential=([^/,\s]+)/;

type Forwarder = {
  /** Returns the answer of the service at `upstream`. Rejects without one. */
  forward(request: IncomingMessage, body: Buffer, upstream: string, response: ServerResponse): Promise<void>;
  close(): void;
};

export function createForwarder(): Forwarder {
  const http = new HttpAgent({ keepAlive: true });
  const https = new HttpsAgent({ keepAlive: true });
  return {
    forward(request, body, upstream, response) {
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
        // A function whose worker ended no longer waits for its answer.
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

/**
 * Signs with the access key that created the tables: some local services separate data by access key, and some
 * refuse one with a hyphen. None verifies the signature.
 */
function disguised(authorization: string): string {
  return authorization.replace(accessKey, `Credential=${localCredentials.accessKeyId}`);
}
