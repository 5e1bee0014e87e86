/**
 * API Gateway's HTTP API on this machine: routes and Lambda proxy integrations as the template declares them. Uses
 * Node's server directly, because the events must carry raw paths, queries, headers and bytes.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { closeServer, listen } from '../ports.ts';
import type { InvocationResult } from './functions.ts';
import { type MatchedRoute, toEvent, toResponse, type WireResponse } from './http-payload.ts';
import type { ResolvedResource } from './resources.ts';
import { accountId } from './template.ts';

type HttpRoute = { routeKey: string; functionArn: string };
type Invoke = (functionArn: string, event: unknown) => Promise<InvocationResult>;

export type Access = { method: string; path: string; status: number; ms: number };

type LocalHttpApi = {
  port: number;
  /** Starts answering. Until then requests wait, so that no request meets a half-started stack. */
  serve(routes: HttpRoute[], invoke: Invoke): void;
  close(): Promise<void>;
};

/** Limits of HTTP APIs: the body, and the request line with all headers. */
const maximumBodyBytes = 10 * 1024 * 1024;
const maximumHeaderBytes = 10_240;

/**
 * @param port 0 for any free port
 * @param onAccess called after each answer, without the query, which may hold tokens
 */
export async function startHttpApi(port: number, onAccess: (access: Access) => void): Promise<LocalHttpApi> {
  const serving = Promise.withResolvers<{ routes: HttpRoute[]; invoke: Invoke }>();
  const server = createServer({ maxHeaderSize: maximumHeaderBytes }, async (request, response) => {
    const { routes, invoke } = await serving.promise;
    const startedAt = performance.now();
    try {
      const wire = await answer(request, routes, invoke);
      send(response, wire);
      const [path = '/'] = (request.url ?? '/').split('?');
      const ms = performance.now() - startedAt;
      onAccess({ method: request.method ?? 'GET', path, status: wire.statusCode, ms });
    } catch {
      // The client disconnected while sending.
      response.destroy();
    }
  });
  return {
    port: await listen(server, port),
    serve: (routes, invoke) => serving.resolve({ routes, invoke }),
    close: () => closeServer(server),
  };
}

async function answer(request: IncomingMessage, routes: HttpRoute[], invoke: Invoke): Promise<WireResponse> {
  const method = request.method ?? 'GET';
  const target = request.url ?? '/';
  const body = await readBody(request);
  if (!body) return json(413, 'Request Entity Too Large');
  const found = matchRoute(routes, method, target.split('?')[0] as string);
  if (!found) return json(404, 'Not Found');
  const event = toEvent(
    {
      method,
      target,
      rawHeaders: request.rawHeaders,
      body,
      sourceIp: request.socket.remoteAddress ?? '127.0.0.1',
    },
    found,
    { requestId: randomUUID(), apiId: 'local', accountId, now: new Date() },
  );
  const result = await invoke(found.functionArn, event);
  const response = result.ok ? toResponse(result.payload) : undefined;
  return response ?? json(500, 'Internal Server Error');
}

function json(statusCode: number, message: string): WireResponse {
  return {
    statusCode,
    headers: [['content-type', 'application/json']],
    body: Buffer.from(JSON.stringify({ message })),
  };
}

/** @returns undefined when the body is too large; the rest is then read and discarded */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= maximumBodyBytes) chunks.push(chunk);
  }
  return bytes <= maximumBodyBytes ? Buffer.concat(chunks) : undefined;
}

function send(response: ServerResponse, { statusCode, headers, body }: WireResponse): void {
  response.statusCode = statusCode;
  for (const [name, value] of headers) {
    // The gateway sets the framing, not the function.
    if (name !== 'content-length' && name !== 'transfer-encoding') response.appendHeader(name, value);
  }
  response.setHeader('content-length', body.length);
  response.end(body);
}

/** Routes of the template, each with its function. */
export function httpRoutes(routes: ResolvedResource[], integrations: ResolvedResource[]): HttpRoute[] {
  return routes.map(({ logicalId, properties }) => {
    const routeKey = String(properties.RouteKey);
    const integration = integrations.find(({ ref }) => properties.Target === `integrations/${ref}`);
    if (!integration) throw new Error(`The route ${routeKey} (${logicalId}) has no integration.`);
    const { IntegrationType, PayloadFormatVersion, IntegrationUri } = integration.properties;
    if (IntegrationType !== 'AWS_PROXY' || PayloadFormatVersion !== '2.0') {
      throw new Error(
        `The route ${routeKey} has an integration ${IntegrationType} ${PayloadFormatVersion}; ` +
          'the local stack runs AWS_PROXY with payload format 2.0.',
      );
    }
    return { routeKey, functionArn: String(IntegrationUri) };
  });
}

/**
 * Finds the route of a request as an HTTP API does: a literal path wins over one with parameters, that over a
 * greedy one, all over `$default`; the method wins over ANY.
 */
export function matchRoute(
  routes: HttpRoute[],
  method: string,
  path: string,
): (MatchedRoute & { functionArn: string }) | undefined {
  let best: { score: number; match: MatchedRoute & { functionArn: string } } | undefined;
  for (const { routeKey, functionArn } of routes) {
    const [routeMethod, routePath] = routeKey.split(' ') as [string, string | undefined];
    if (routePath !== undefined && routeMethod !== 'ANY' && routeMethod !== method) continue;
    const found = routePath === undefined ? { score: -1, pathParameters: {} } : matchPath(routePath, path);
    if (!found) continue;
    const score = found.score * 2 + (routeMethod === method ? 1 : 0);
    if (!best || score > best.score) {
      best = { score, match: { routeKey, functionArn, pathParameters: found.pathParameters } };
    }
  }
  return best?.match;
}

/** Reads as a number with one digit per segment of the path: 2 literal, 1 parameter, 0 within a greedy tail. */
function matchPath(
  pattern: string,
  path: string,
): { score: number; pathParameters: Record<string, string> } | undefined {
  const wanted = pattern.split('/').slice(1);
  const given = path.split('/').slice(1);
  const pathParameters: Record<string, string> = {};
  let score = 0;
  for (const [i, segment] of wanted.entries()) {
    const { name, isGreedy } = parseSegment(segment);
    const value = isGreedy ? given.slice(i).join('/') : given[i];
    if (!matchesSegment(value, segment, name)) return undefined;
    if (name) pathParameters[name] = decode(value);
    if (isGreedy) return { score: score * 3 ** (given.length - i), pathParameters };
    score = score * 3 + (name ? 1 : 2);
  }
  return wanted.length === given.length ? { score, pathParameters } : undefined;
}

/** `{name}` or `{name+}`; no name: a literal. */
function parseSegment(segment: string): { name?: string; isGreedy: boolean } {
  const [, name, plus] = /^\{(\w+)(\+?)\}$/.exec(segment) ?? [];
  return { ...(name ? { name } : {}), isGreedy: plus === '+' };
}

function matchesSegment(value: string | undefined, segment: string, name?: string): value is string {
  return name ? value !== undefined && value !== '' : value === segment;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
