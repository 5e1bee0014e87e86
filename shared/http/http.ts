import type { MiddlewareObj } from '@middy/core';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { AppError, type ErrorCode, isOperatorError } from '../lib/app-error.ts';
import { describeError, log, metric, reportOperatorError, setLogContext } from '../lib/observability.ts';
import { securityHeaders } from './security-headers.ts';

export type HttpRequest = APIGatewayProxyEventV2;
export type HttpResponse = APIGatewayProxyStructuredResultV2;

/** Maximum bytes of a JSON body. */
const maxJsonBytes = 64 * 1024;

/** A JSON answer. */
export function json(statusCode: number, body: unknown, headers: Record<string, string> = {}): HttpResponse {
  return {
    statusCode,
    headers: { ...securityHeaders, 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  };
}

/** An HTML answer with the page's own content security policy. */
export function html(statusCode: number, body: string, contentSecurityPolicy: string): HttpResponse {
  return {
    statusCode,
    headers: {
      ...securityHeaders,
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': contentSecurityPolicy,
      'x-frame-options': 'DENY',
    },
    body,
  };
}

/** A redirect of the browser. */
export function redirect(location: string, cookies: string[] = []): HttpResponse {
  return { statusCode: 302, headers: { ...securityHeaders, location }, cookies };
}

/** An error as `application/problem+json` (RFC 9457) with its stable `code`, and `problems` field by field. */
export function problem(error: AppError): HttpResponse {
  const { status, code, message, problems } = error;
  const body = {
    title: titleOf(status),
    status,
    code,
    detail: message,
    ...(problems.length > 0 ? { problems } : {}),
  };
  return json(status, body, {
    'content-type': 'application/problem+json',
    ...(status === 401 ? { 'www-authenticate': challenge(code) } : {}),
  });
}

/** RFC 6750: no error code where no token was sent. */
function challenge(code: ErrorCode): string {
  return code === 'token_missing' ? 'Bearer' : 'Bearer error="invalid_token"';
}

/** The operation for the route of a request. A route without one is a fault of the stack. */
export function matchRoute<Operation>(
  operations: Record<string, Operation>,
  request: HttpRequest,
): Operation {
  const operation = operations[request.routeKey];
  if (operation) return operation;
  throw new Error(`No operation for ${request.routeKey}. Compare infra/operations.ts.`);
}

/** The bytes of the body as they were sent, which signatures cover. */
export function rawBody(request: HttpRequest): Buffer {
  return Buffer.from(request.body ?? '', request.isBase64Encoded ? 'base64' : 'utf8');
}

/** The body as JSON. Errors: `payload_too_large` (413), `invalid_json` (400). */
export function jsonBody(request: HttpRequest): unknown {
  const body = rawBody(request);
  if (body.length > maxJsonBytes) {
    throw new AppError('payload_too_large', `The body is too large. Send at most ${maxJsonBytes} bytes.`, {
      status: 413,
    });
  }
  return parseJsonBody(body);
}

/** The bytes of a body as JSON. Errors: `invalid_json` (400). */
export function parseJsonBody(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new AppError('invalid_json', 'The body is not JSON.', { status: 400, cause });
  }
}

/** Whether the caller is a browser rather than a program. */
export function wantsHtml(request: HttpRequest): boolean {
  return (request.headers?.accept ?? '').includes('text/html');
}

/**
 * Middleware that answers errors by `render`. An AppError is answered with its message; any other error is logged and
 * answered as `internal_error` without particulars.
 */
export function errorHandler(
  render: (error: AppError, request: HttpRequest) => HttpResponse = problem,
): MiddlewareObj<HttpRequest, HttpResponse> {
  return {
    before: ({ event, context }) => {
      setLogContext({ requestId: context.awsRequestId, route: event.routeKey });
    },
    onError: (request) => {
      const error = toAppError(request.error);
      if (isOperatorError(request.error)) reportOperatorError('Service is not set up', request.error);
      else if (error.status >= 500) log.error('Request failed', { error: describeError(request.error) });
      else log.info('Request refused', { code: error.code, status: error.status });
      // Lambda does not count an answered error.
      if (error.status >= 500) metric('RequestFailed', 1, { route: request.event.routeKey });
      request.response = render(error, request.event);
    },
  };
}

function toAppError(error: unknown): AppError {
  if (error instanceof AppError) {
    if (!isOperatorError(error)) return error;
    // The message for the operator goes to the log; the caller learns that the request was right.
    return new AppError(error.code, 'This service is not fully set up yet. Its operator has been told.', {
      status: 503,
    });
  }
  return new AppError('internal_error', 'Something went wrong here. Please try again.', {
    status: 500,
    cause: error,
  });
}

const titles: Record<number, string> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  409: 'Conflict',
  412: 'Precondition Failed',
  413: 'Payload Too Large',
  415: 'Unsupported Media Type',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
};

function titleOf(status: number): string {
  return titles[status] ?? (status >= 500 ? 'Internal Server Error' : 'Bad Request');
}
