import { HTTPException } from 'hono/http-exception';
import type { ContentfulStatusCode } from 'hono/utils/http-status';

/** An error of Stripe's API. Types and codes are documented, texts are not: clients must not rely on their wording. */
export type StripeError = {
  status: number;
  type?: 'invalid_request_error' | 'api_error';
  code?: string;
  message: string;
  param?: string;
};

/** Throw the result: Hono answers in Stripe's form. */
export function stripeError(error: StripeError): HTTPException {
  return new HTTPException(error.status as ContentfulStatusCode, { res: stripeErrorResponse(error) });
}

export function stripeErrorResponse({ status, type, ...error }: StripeError): Response {
  const byStatus = status >= 500 ? 'api_error' : 'invalid_request_error';
  return Response.json({ error: { ...error, type: type ?? byStatus } }, { status });
}

/** An object that does not exist, or not for this key and account. */
export function resourceMissing(type: string, id: string, param = 'id'): HTTPException {
  return stripeError({
    status: param === 'id' ? 404 : 400,
    code: 'resource_missing',
    message: `No such ${type}: '${id}'`,
    param,
  });
}
