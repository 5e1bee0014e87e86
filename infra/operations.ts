/**
 * Every operation of the HTTP API, once: the stack makes its routes of this table, and openapi.ts and api-page.ts its
 * documents. Functions never load it.
 */
import * as v from 'valibot';
import { bookingSchema as bookingRequest, listSchema } from '../functions/bookings/requests.ts';
import { changeSchema } from '../functions/connections/manage-connection.ts';
import { rejections } from '../functions/payment-confirmed/accept-webhook.ts';
import type { ProviderName } from '../functions/payment-confirmed/providers.ts';
import { event, payment, refund } from '../functions/payment-confirmed/standard/events.ts';
import {
  bookingSchema,
  bookingsSchema,
  calendarsSchema,
  connectionSchema,
  disconnectedSchema,
  errorSchema,
  healthSchema,
  paymentAccountSchema,
  paymentAccountsSchema,
  problemSchema,
  receiptSchema,
} from '../shared/http/api-schemas.ts';
import type { ErrorCode } from '../shared/lib/app-error.ts';
import { accountPattern } from '../shared/lib/connected-account.ts';
import { routes, webhookRoute } from '../shared/lib/names.ts';

/** Schemas that the documents name. */
export const schemas = {
  Booking: bookingSchema,
  BookingRequest: bookingRequest,
  Bookings: bookingsSchema,
  Calendars: calendarsSchema,
  Connection: connectionSchema,
  ConnectionChange: changeSchema,
  Disconnected: disconnectedSchema,
  Error: errorSchema,
  Health: healthSchema,
  PaymentAccount: paymentAccountSchema,
  PaymentAccounts: paymentAccountsSchema,
  Problem: problemSchema,
  Receipt: receiptSchema,
  StandardPayment: payment,
  StandardRefund: refund,
} satisfies Record<string, v.GenericSchema>;
/** `BookingPatch` is derived from BookingRequest, `StandardEvent` has one of two schemas as its data. */
export type SchemaName = keyof typeof schemas | 'BookingPatch';

/** How a function authenticates its caller, since the gateway has no authorizer. */
export const guards = {
  none: 'public: it only says that it is available',
  link: 'a signed link token in the query',
  state: 'an encrypted state, bound to a cookie of that browser',
  signature: "the provider's signature over the raw body",
  user: 'a bearer token, signed by the backend for one user',
} as const;

export type Parameter = {
  name: string;
  in: 'path' | 'query' | 'header';
  required?: true;
  description?: string;
  /** Text where it is absent. */
  schema?: v.GenericSchema;
};

/** A body: a named schema, another one, or JSON whose form the description links to. */
export type Body = { schema: SchemaName | v.GenericSchema; types?: readonly string[] };

/** An answer without an error. Its body is JSON of the schema, or a page. */
export type Success = {
  description: string;
  schema?: SchemaName;
  page?: true;
  headers?: readonly (keyof typeof headers)[];
};

/** Headers of answers. */
export const headers = {
  ETag: 'The revision, in quotes: for If-Match.',
  Location: 'The URL of the booking, or where the browser goes next.',
} as const;

export type Operation = {
  id: string;
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  route: string;
  /** Its folder in functions/. */
  function: 'health' | 'connect' | 'oauth-callback' | 'connections' | 'bookings' | 'payment-confirmed';
  guard: keyof typeof guards;
  /** It exists with this option only. */
  option?: 'stripeConnect';
  summary: string;
  description?: string;
  parameters?: readonly Parameter[];
  body?: Body;
  success: Readonly<Record<number, Success>>;
  /** All but `internal_error`. Their statuses are those of infra/reference.ts. */
  errors: readonly ErrorCode[];
};

const tokenErrors: ErrorCode[] = ['token_missing', 'token_invalid', 'token_expired', 'not_configured'];
/** Of an operation that reads the tables for a user. */
const userErrors: ErrorCode[] = [...tokenErrors, 'schema_version_unsupported'];
const bodyErrors: ErrorCode[] = ['invalid_request', 'invalid_json', 'payload_too_large'];
const changeErrors: ErrorCode[] = ['booking_not_found', 'concurrent_update', 'revision_mismatch'];
const googleErrors: ErrorCode[] = [
  'google_oauth_error',
  'google_unexpected_body',
  'calendar_unavailable',
  'google_unreachable',
  'refresh_in_progress',
  'google_unexpected_status',
  'google_client_misconfigured',
  'token_unreadable',
];

const bookingId: Parameter = {
  name: 'id',
  in: 'path',
  required: true,
  description: "LeadsCalendar's id of the booking.",
  schema: v.pipe(v.string(), v.regex(/^[A-Za-z0-9_.:@-]{1,128}$/)),
};
const ifMatch: Parameter = {
  name: 'If-Match',
  in: 'header',
  description: 'The ETag of the booking as it was read. At any other revision nothing is changed.',
  schema: v.pipe(v.string(), v.examples(['"3"'])),
};
const written = { schema: 'Booking', headers: ['ETag', 'Location'] } as const;
const unchanged: Success = { description: 'Unchanged, or changed with nothing to sync.', ...written };
const syncing: Success = { description: 'Recorded; the sync follows.', ...written };

const bookings: Operation[] = [
  {
    id: 'declareBooking',
    method: 'PUT',
    route: routes.booking,
    function: 'bookings',
    guard: 'user',
    summary: 'Declares a booking, or replaces its desired state',
    description:
      'Before it is paid: then the payment need only carry its id. With "hold" a tentative event holds the slot until then.',
    parameters: [bookingId, ifMatch],
    body: { schema: 'BookingRequest' },
    success: {
      200: unchanged,
      201: { description: 'Declared; no event exists before it is paid.', ...written },
      202: syncing,
    },
    errors: [...bodyErrors, ...userErrors, ...changeErrors, 'booking_cancelled'],
  },
  {
    id: 'getBooking',
    method: 'GET',
    route: routes.booking,
    function: 'bookings',
    guard: 'user',
    summary: 'Shows the desired state, the calendar event, and why they differ',
    parameters: [bookingId],
    success: { 200: { description: 'The booking.', schema: 'Booking', headers: ['ETag'] } },
    errors: ['invalid_request', ...userErrors, 'booking_not_found'],
  },
  {
    id: 'changeBooking',
    method: 'PATCH',
    route: routes.booking,
    function: 'bookings',
    guard: 'user',
    summary: 'Reschedules or edits a booking',
    description: 'A merge patch (RFC 7396) of the body of PUT.',
    parameters: [bookingId, ifMatch],
    body: { schema: 'BookingPatch', types: ['application/merge-patch+json', 'application/json'] },
    success: { 200: unchanged, 202: syncing },
    errors: [...bodyErrors, ...userErrors, ...changeErrors, 'booking_cancelled', 'unsupported_media_type'],
  },
  {
    id: 'cancelBooking',
    method: 'DELETE',
    route: routes.booking,
    function: 'bookings',
    guard: 'user',
    summary: 'Cancels a booking permanently, also when it is paid',
    parameters: [bookingId, ifMatch],
    success: { 200: { description: 'Cancelled; no event exists.', ...written }, 202: syncing },
    errors: ['invalid_request', ...userErrors, ...changeErrors],
  },
  {
    id: 'listBookings',
    method: 'GET',
    route: routes.bookings,
    function: 'bookings',
    guard: 'user',
    summary: "Lists the user's bookings by start",
    description:
      'A page may be shorter than the limit, and even empty, while more follow: only one without nextCursor is the last. ' +
      'A booking without a usable appointment is where it was made. One that has just changed may be missing for a moment.',
    parameters: queryOf(listSchema, {
      status: 'Only those of this status.',
      from: "Those that start then or later. A whole day starts at midnight in the calendar's time zone.",
      to: 'Those that start before.',
      cursor: 'nextCursor of the page before, with the same from and to.',
      limit: 'The maximum of a page.',
    }),
    success: { 200: { description: 'A page.', schema: 'Bookings' } },
    errors: ['invalid_request', ...userErrors],
  },
];

const accountId: Parameter = {
  name: 'accountId',
  in: 'path',
  required: true,
  description: "Stripe's id of the connected account.",
  schema: v.pipe(v.string(), v.regex(accountPattern)),
};
const ofAccount = {
  route: routes.paymentAccount,
  function: 'bookings',
  guard: 'user',
  option: 'stripeConnect',
  parameters: [accountId],
} as const;

const paymentAccounts: Operation[] = [
  {
    id: 'bindPaymentAccount',
    method: 'PUT',
    ...ofAccount,
    summary: "Lets the payments of a connected account count for the user's bookings",
    description: 'Without a body. Bind it before the first payment.',
    success: {
      200: { description: 'It was bound already.', schema: 'PaymentAccount' },
      201: { description: 'It is bound.', schema: 'PaymentAccount' },
    },
    errors: ['invalid_request', ...userErrors, 'too_many_payment_accounts', 'concurrent_update'],
  },
  {
    id: 'getPaymentAccount',
    method: 'GET',
    ...ofAccount,
    summary: 'Shows since when an account is bound',
    success: { 200: { description: 'It is bound.', schema: 'PaymentAccount' } },
    errors: ['invalid_request', ...userErrors, 'payment_account_not_found'],
  },
  {
    id: 'unbindPaymentAccount',
    method: 'DELETE',
    ...ofAccount,
    summary: 'Unbinds an account',
    description: 'Its payments no longer count from now on. What counts already stays, with its refunds.',
    success: { 204: { description: 'It is not bound any more.' } },
    errors: ['invalid_request', ...userErrors, 'concurrent_update'],
  },
  {
    id: 'listPaymentAccounts',
    method: 'GET',
    route: routes.paymentAccounts,
    function: 'bookings',
    guard: 'user',
    option: 'stripeConnect',
    summary: 'Lists the bound accounts of the user',
    success: { 200: { description: 'All of them, 100 at most.', schema: 'PaymentAccounts' } },
    errors: userErrors,
  },
];

const connections: Operation[] = [
  {
    id: 'getConnection',
    method: 'GET',
    route: routes.connection,
    function: 'connections',
    guard: 'user',
    summary: 'Shows the connection of the user',
    success: { 200: { description: 'The connection.', schema: 'Connection' } },
    errors: [...userErrors, 'connection_not_found'],
  },
  {
    id: 'changeConnection',
    method: 'PATCH',
    route: routes.connection,
    function: 'connections',
    guard: 'user',
    summary: 'Chooses the calendar',
    body: { schema: 'ConnectionChange' },
    success: { 200: { description: 'The connection.', schema: 'Connection' } },
    errors: [
      ...bodyErrors,
      ...userErrors,
      'connection_not_found',
      'reauthorization_required',
      'calendar_switched_off',
      'concurrent_update',
      ...googleErrors,
    ],
  },
  {
    id: 'endConnection',
    method: 'DELETE',
    route: routes.connection,
    function: 'connections',
    guard: 'user',
    summary: 'Ends the connection, and revokes the grant at Google',
    success: { 200: { description: 'The connection has ended.', schema: 'Disconnected' } },
    errors: [...userErrors, 'connection_not_found', 'concurrent_update', ...googleErrors],
  },
  {
    id: 'listCalendars',
    method: 'GET',
    route: routes.calendars,
    function: 'connections',
    guard: 'user',
    summary: 'Lists the calendars that events can go to',
    success: { 200: { description: 'The calendars.', schema: 'Calendars' } },
    errors: [
      ...userErrors,
      'calendar_list_permission_missing',
      'connection_not_found',
      'reauthorization_required',
      'calendar_switched_off',
      ...googleErrors,
    ],
  },
];

/** What differs from one payment provider to the next. */
const ofStripe = {
  parameters: [{ name: 'Stripe-Signature', in: 'header', required: true }],
  body: {
    schema: v.pipe(
      v.looseObject({}),
      v.description("Stripe's own: https://docs.stripe.com/api/events/object"),
    ),
  },
} as const;
const webhooks: Record<ProviderName, Pick<Operation, 'summary' | 'parameters' | 'body' | 'option'>> = {
  stripe: { summary: 'Accepts an event of Stripe', ...ofStripe },
  'stripe-connect': {
    summary: 'Accepts an event of an account that is connected to your Stripe platform',
    option: 'stripeConnect',
    ...ofStripe,
  },
  standard: {
    summary: 'Accepts a payment of another provider, signed by Standard Webhooks',
    // Not required, since `svix-` may replace the prefix.
    parameters: ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) => ({
      name,
      in: 'header',
      description: `Or ${name.replace('webhook-', 'svix-')}.`,
    })),
    body: { schema: v.object({ ...event.entries, data: v.union([payment, refund]) }) },
  },
};

const payments = Object.entries(webhooks).map(
  ([provider, own]): Operation => ({
    id: `${camelCase(provider)}Webhook`,
    method: 'POST',
    route: webhookRoute(provider),
    function: 'payment-confirmed',
    guard: 'signature',
    ...own,
    success: { 200: { description: 'Accepted, or ignored.', schema: 'Receipt' } },
    errors: [
      ...rejections,
      'provider_not_configured',
      'payload_too_large',
      'stripe_unreachable',
      'not_configured',
    ],
  }),
);

const pages = 'Refusals are pages to a browser that accepts text/html, with the same code.';
const browser: Operation[] = [
  {
    id: 'connect',
    method: 'GET',
    route: routes.connect,
    function: 'connect',
    guard: 'link',
    summary: "Sends a user's browser to Google's consent page",
    description: pages,
    parameters: [
      {
        name: 'token',
        in: 'query',
        description: 'A link token: as the bearer token, with aud leadscalendar-google/connect.',
      },
      {
        name: 'return_to',
        in: 'query',
        description: 'Where to go afterwards; its origin must be one of returnOrigins.',
      },
      {
        name: 'retry',
        in: 'query',
        description: 'In place of the token, as our own pages offer it: the same attempt again.',
      },
    ],
    success: { 302: { description: "To Google's consent page.", headers: ['Location'] } },
    errors: [...tokenErrors, 'return_to_not_allowed', 'state_invalid', 'state_expired', 'wrong_browser'],
  },
  {
    id: 'callback',
    method: 'GET',
    route: routes.callback,
    function: 'oauth-callback',
    guard: 'state',
    summary: "Receives Google's answer and stores the connection",
    description: pages,
    parameters: [
      { name: 'state', in: 'query', description: 'As connect has sent it.' },
      { name: 'code', in: 'query', description: "Google's code." },
      { name: 'error', in: 'query', description: "Google's error, in place of the code." },
    ],
    success: {
      200: { description: 'A page that says so.', page: true },
      302: { description: 'To return_to, with google_calendar=connected.', headers: ['Location'] },
    },
    errors: [
      'state_missing',
      'state_invalid',
      'state_expired',
      'authorization_failed',
      'id_token_invalid',
      'wrong_browser',
      'access_denied',
      'administrator_denied',
      'browser_unsupported',
      'calendar_permission_missing',
      'state_used',
      'refresh_token_missing',
      'concurrent_update',
      'google_oauth_error',
      'google_unexpected_body',
      'google_unreachable',
      'google_unexpected_status',
      'google_client_misconfigured',
      'not_configured',
      'schema_version_unsupported',
    ],
  },
];

const health: Operation[] = [
  {
    id: 'health',
    method: 'GET',
    route: routes.health,
    function: 'health',
    guard: 'none',
    summary: 'Says that API and Lambda are available',
    success: { 200: { description: 'Both are available.', schema: 'Health' } },
    errors: [],
  },
  {
    id: 'healthHead',
    method: 'HEAD',
    route: routes.health,
    function: 'health',
    guard: 'none',
    summary: 'The same without a body: some monitors send nothing but HEAD',
    success: { 200: { description: 'Both are available.' } },
    errors: [],
  },
];

export const operations: readonly Operation[] = [
  ...bookings,
  ...paymentAccounts,
  ...connections,
  ...payments,
  ...browser,
  ...health,
];

/** `stripeConnect` of `stripe-connect`. */
function camelCase(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** The query that `schema` reads, a parameter for each of its fields. */
function queryOf<Entries extends v.ObjectEntries>(
  schema: { entries: Entries },
  descriptions: Record<keyof Entries & string, string>,
): Parameter[] {
  return Object.entries<string>(descriptions).map(([name, description]) => ({
    name,
    in: 'query',
    description,
    schema: schema.entries[name] as v.GenericSchema,
  }));
}
