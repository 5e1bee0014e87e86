/** Headers of every answer: no caching, HTTPS only, no content sniffing, no referrer. */
export const securityHeaders = {
  'cache-control': 'no-store',
  'strict-transport-security': 'max-age=63072000; includeSubDomains',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
};
