import { type HttpRequest, type HttpResponse, json, jsonBody } from '../../shared/http/http.ts';
import { routes } from '../../shared/lib/names.ts';
import { cancelBooking, declareBooking, etagOf, patchBooking } from './change-booking.ts';
import { checkPatchType, parseTarget, toResponse } from './http-mapping.ts';
import { bindAccount, listAccounts, parseAccountId, unbindAccount, viewAccount } from './payment-accounts.ts';
import { listBookings, viewBooking } from './view-booking.ts';

type Deps = Parameters<typeof patchBooking>[0] & Parameters<typeof bindAccount>[0];

/** What each operation answers to a user, by method and route. */
export function bookingOperations(
  deps: Deps,
): Record<string, (userId: string, request: HttpRequest) => Promise<HttpResponse>> {
  return {
    [`PUT ${routes.booking}`]: async (userId, request) =>
      toResponse(await declareBooking(deps, parseTarget(userId, request), jsonBody(request))),
    [`GET ${routes.booking}`]: async (userId, request) => {
      const booking = await viewBooking(deps, userId, parseTarget(userId, request).bookingId);
      return json(200, booking, { etag: etagOf(booking) });
    },
    [`PATCH ${routes.booking}`]: async (userId, request) => {
      checkPatchType(request);
      return toResponse(await patchBooking(deps, parseTarget(userId, request), jsonBody(request)));
    },
    [`DELETE ${routes.booking}`]: async (userId, request) =>
      toResponse(await cancelBooking(deps, parseTarget(userId, request))),
    [`GET ${routes.bookings}`]: async (userId, request) =>
      json(
        200,
        await listBookings(deps, userId, Object.fromEntries(new URLSearchParams(request.rawQueryString))),
      ),
    [`PUT ${routes.paymentAccount}`]: async (userId, request) => {
      const { isNew, account } = await bindAccount(deps, userId, parseAccountId(request));
      return json(isNew ? 201 : 200, account);
    },
    [`GET ${routes.paymentAccount}`]: async (userId, request) =>
      json(200, await viewAccount(deps, userId, parseAccountId(request))),
    [`DELETE ${routes.paymentAccount}`]: async (userId, request) => {
      await unbindAccount(deps, userId, parseAccountId(request));
      return { statusCode: 204 };
    },
    [`GET ${routes.paymentAccounts}`]: async (userId) => json(200, await listAccounts(deps, userId)),
  };
}
