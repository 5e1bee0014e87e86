/**
 * The two translations of an HTTP API with payload format 2.0: from the request to the event of a function, and
 * from its result to the response.
 * Source: docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
 */
import { validateHeaderName, validateHeaderValue } from 'node:http';
import type { APIGatewayProxyEventV2 } from 'aws-lambda';

/** A request as received: nothing decoded or merged. */
type RawRequest = {
  method: string;
  /** Path and query as on the request line. */
  target: string;
  /** Alternating names and values, as in `http.IncomingMessage.rawHeaders`. */
  rawHeaders: string[];
  body: Buffer;
  sourceIp: string;
};

export type MatchedRoute = { routeKey: string; pathParameters: Record<string, string> };
type EventContext = { requestId: string; apiId: string; accountId: string; now: Date };

/** Builds the event of payload format 2.0. */
export function toEvent(
  request: RawRequest,
  route: MatchedRoute,
  context: EventContext,
): APIGatewayProxyEventV2 {
  const [rawPath = '/', rawQueryString = ''] = request.target.split(/\?(.*)/s);
  const { cookies, headers } = mergeHeaders(request.rawHeaders);
  const host = headers.host ?? 'localhost';
  const parameters = mergeQuery(rawQueryString);
  const body = encodeBody(request.body, headers['content-type']);
  return {
    version: '2.0',
    routeKey: route.routeKey,
    rawPath,
    rawQueryString,
    ...(cookies.length > 0 ? { cookies } : {}),
    headers: {
      ...headers,
      'x-forwarded-for': request.sourceIp,
      'x-forwarded-port': host.split(':')[1] ?? '80',
      'x-forwarded-proto': 'http',
    },
    ...(parameters ? { queryStringParameters: parameters } : {}),
    ...(Object.keys(route.pathParameters).length > 0 ? { pathParameters: route.pathParameters } : {}),
    requestContext: {
      accountId: context.accountId,
      apiId: context.apiId,
      domainName: host,
      domainPrefix: host.split('.')[0] ?? host,
      http: {
        method: request.method,
        path: rawPath,
        protocol: 'HTTP/1.1',
        sourceIp: request.sourceIp,
        userAgent: headers['user-agent'] ?? '',
      },
      requestId: context.requestId,
      routeKey: route.routeKey,
      stage: '$default',
      time: accessLogTime(context.now),
      timeEpoch: context.now.getTime(),
    },
    ...body,
  };
}

/** Lower-case names, duplicates joined by commas, cookies apart. */
function mergeHeaders(rawHeaders: string[]): { headers: Record<string, string>; cookies: string[] } {
  const merged = new Map<string, string>();
  const cookies: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    const value = rawHeaders[i + 1] as string;
    if (name === 'cookie') cookies.push(...value.split(/;\s*/).filter(Boolean));
    else merged.set(name, merged.has(name) ? `${merged.get(name)},${value}` : value);
  }
  return { headers: Object.fromEntries(merged), cookies };
}

/** Decoded parameters, values of a repeated key joined by commas; undefined without any. */
function mergeQuery(rawQueryString: string): Record<string, string> | undefined {
  const merged = new Map<string, string>();
  for (const [key, value] of new URLSearchParams(rawQueryString)) {
    merged.set(key, merged.has(key) ? `${merged.get(key)},${value}` : value);
  }
  return merged.size > 0 ? Object.fromEntries(merged) : undefined;
}

const textTypes = /^(text\/|application\/(json|javascript|xml)\b|application\/[\w.-]+\+(json|xml)\b)/i;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Text is passed as it is; other bodies, and text that is not UTF-8, as base64. */
function encodeBody(
  body: Buffer,
  contentType: string | undefined,
): { body?: string; isBase64Encoded: boolean } {
  if (body.length === 0) return { isBase64Encoded: false };
  if (contentType === undefined || textTypes.test(contentType)) {
    try {
      return { body: utf8.decode(body), isBase64Encoded: false };
    } catch {
      // Not UTF-8, regardless of the content type.
    }
  }
  return { body: body.toString('base64'), isBase64Encoded: true };
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** `12/Mar/2026:19:03:58 +0000` */
function accessLogTime(date: Date): string {
  const [day, time] = date.toISOString().split(/[T.]/) as [string, string];
  const [year, , dayOfMonth] = day.split('-') as [string, string, string];
  return `${dayOfMonth}/${months[date.getUTCMonth()]}/${year}:${time} +0000`;
}

export type WireResponse = { statusCode: number; headers: [string, string][]; body: Buffer };

/**
 * Translates the result of a function.
 * @returns undefined for an invalid result: the client then gets a 500
 */
export function toResponse(returned: unknown): WireResponse | undefined {
  if (typeof returned !== 'object' || returned === null || !('statusCode' in returned)) {
    // Without a status code the whole value is the body of a 200.
    const text = typeof returned === 'string' ? returned : JSON.stringify(returned ?? null);
    return { statusCode: 200, headers: [['content-type', 'application/json']], body: Buffer.from(text) };
  }
  const { statusCode, headers, cookies, body, isBase64Encoded } = returned as Record<string, unknown>;
  const status = Number(statusCode);
  if (!Number.isInteger(status) || status < 100 || status > 599) return undefined;
  const text = body ?? '';
  if (typeof text !== 'string') return undefined;
  const wireHeaders = toWireHeaders(headers, cookies);
  if (!wireHeaders.every(isSendable)) return undefined;
  return {
    statusCode: status,
    headers: wireHeaders,
    body: Buffer.from(text, isBase64Encoded === true ? 'base64' : 'utf8'),
  };
}

function toWireHeaders(headers: unknown, cookies: unknown): [string, string][] {
  const given = Object.entries((headers ?? {}) as Record<string, unknown>).map(
    ([name, value]): [string, string] => [name.toLowerCase(), String(value)],
  );
  const hasType = given.some(([name]) => name === 'content-type');
  const setCookies: unknown[] = Array.isArray(cookies) ? cookies : [];
  return [
    ...given,
    ...(hasType ? [] : [['content-type', 'text/plain;charset=UTF-8'] satisfies [string, string]]),
    ...setCookies.map((cookie): [string, string] => ['set-cookie', String(cookie)]),
  ];
}

function isSendable([name, value]: [string, string]): boolean {
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    return true;
  } catch {
    return false;
  }
}
