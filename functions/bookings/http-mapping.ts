import { type HttpRequest, type HttpResponse, json } from '../../shared/http/http.ts';
import { invalidRequest } from '../../shared/http/invalid-request.ts';
import { AppError } from '../../shared/lib/app-error.ts';
import { routes } from '../../shared/lib/names.ts';
import { isIdentifier } from '../../shared/lib/schemas.ts';
import { etagOf, type Target, type WriteResult } from './change-booking.ts';

const statuses = { created: 201, accepted: 202, changed: 200, unchanged: 200 };

/** The answer to a write: the booking, its URL and its ETag. */
export function toResponse({ outcome, booking }: WriteResult): HttpResponse {
  return json(statuses[outcome], booking, {
    etag: etagOf(booking),
    location: routes.booking.replace('{id}', encodeURIComponent(booking.bookingId)),
  });
}

/** The target of a request. Errors: `invalid_request` (400). */
export function parseTarget(userId: string, request: HttpRequest): Target {
  const bookingId = request.pathParameters?.id;
  if (isIdentifier(bookingId)) return { userId, bookingId, ifMatch: request.headers['if-match'] };
  const message = 'It must be 1 to 128 characters of A-Z a-z 0-9 _ . : @ -';
  throw invalidRequest([{ code: 'invalid_field', field: 'id', message }]);
}

/** Other patch formats would be misread as a merge patch. Errors: `unsupported_media_type` (415). */
export function checkPatchType(request: HttpRequest): void {
  const type = (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase();
  if (type === 'application/merge-patch+json' || type === 'application/json') return;
  throw new AppError(
    'unsupported_media_type',
    'The content type is not supported. Send a merge patch (RFC 7396) as application/merge-patch+json or application/json.',
    { status: 415 },
  );
}
