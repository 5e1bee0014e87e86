import middy from '@middy/core';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { securityHeaders } from '../../shared/http/security-headers.ts';

/** GET and HEAD /health: the API and its Lambda answer. Touches nothing else, so that it stays up when others are not. */
export const handler = middy<APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2>().handler(
  async ({ requestContext }: APIGatewayProxyEventV2) => ({
    statusCode: 200,
    headers: { ...securityHeaders, 'content-type': 'application/json' },
    body: requestContext.http.method === 'HEAD' ? '' : '{"status":"ok"}',
  }),
);
