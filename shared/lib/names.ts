/**
 * Names that the stack, the functions and the tests share. This module imports nothing, so that loading it costs
 * nothing.
 */

/** Environment variables of the functions. The stack sets each only on the functions that read it. */
export const env = {
  /** Name of the stack: a dimension of every metric, since several may run in one account. */
  stackName: 'STACK_NAME',
  /** DynamoDB table of connections. */
  connectionsTable: 'CONNECTIONS_TABLE',
  /** DynamoDB table of bookings. */
  bookingsTable: 'BOOKINGS_TABLE',
  /** URL of the FIFO queue `bookings.fifo`. */
  bookingsQueueUrl: 'BOOKINGS_QUEUE_URL',
  /** Name of the EventBridge bus with the events for LeadsCalendar. */
  eventBus: 'EVENT_BUS',
  /** Secret: the client secret file that Google's console offers for download. */
  googleClientSecretId: 'GOOGLE_OAUTH_CLIENT_SECRET_ID',
  /** Secret: signing secrets of the payment providers. */
  webhookSecretId: 'WEBHOOK_SIGNING_SECRET_ID',
  /** Secret: API keys of Stripe. */
  stripeApiSecretId: 'STRIPE_API_SECRET_ID',
  /** Where browsers reach this service, without a trailing slash: `https://…`. */
  publicUrl: 'PUBLIC_URL',
  /** Origins to which a user may be sent back after connecting, separated by spaces. */
  returnOrigins: 'RETURN_ORIGINS',
  /** Calendars that connect requests access to: owned or shared. */
  calendarScope: 'CALENDAR_SCOPE',
  /** Scopes that connect asks for beyond what a connection needs, separated by spaces. */
  optionalScopes: 'OPTIONAL_SCOPES',
  /** When connections are refreshed: JSON, see RefreshPolicy. */
  refreshPolicy: 'REFRESH_POLICY',
  /** Refreshes side by side in one sweep. */
  refreshConcurrency: 'REFRESH_CONCURRENCY',
  /** Number of shards of the due indexes: spreads their writes over as many partitions. It may only grow. */
  indexShards: 'INDEX_SHARDS',
  /** Days for which a booking is kept, after its end and its last change. */
  keepBookingsDays: 'KEEP_BOOKINGS_DAYS',
  /** What refunds and lost disputes do to an event: JSON, see PaymentPolicy. */
  paymentPolicy: 'PAYMENT_POLICY',
  /** What to do about another event at the time of a booking: create, flag or hold. */
  conflictPolicy: 'CONFLICT_POLICY',
  /** The mode of Stripe whose payments count: live, test or both. */
  stripeMode: 'STRIPE_MODE',
  /** What an invoice counts as that no money through Stripe has paid: ignore or count. */
  invoicesPaidOutOfBand: 'INVOICES_PAID_OUT_OF_BAND',
  /** Optional. Payments to accounts that are connected by Stripe Connect count: true. */
  stripeConnect: 'STRIPE_CONNECT',
  /** Name of Stripe's partner event source in EventBridge. */
  stripeEventSource: 'STRIPE_EVENT_SOURCE',
  /** Optional. Base URL of a Google simulator; Google's real endpoints when absent. */
  googleUrl: 'GOOGLE_URL',
  /** Optional. Base URL of a Stripe simulator; Stripe's real API when absent. */
  stripeUrl: 'STRIPE_URL',
} as const;

/** Secrets with keys, one per purpose, each by the environment variable that names it. */
export const keySecrets = {
  /** Google's tokens at rest. */
  'token-encryption': 'TOKEN_ENCRYPTION_SECRET_ID',
  /** The OAuth state, which travels through the browser. */
  'state-encryption': 'STATE_ENCRYPTION_SECRET_ID',
  /** Connect links, signed by LeadsCalendar's backend. */
  'link-signing': 'LINK_SIGNING_SECRET_ID',
  /** Bearer tokens, signed by LeadsCalendar's backend. */
  'api-signing': 'API_SIGNING_SECRET_ID',
  /** MACs of the payment messages in the queue. */
  'payment-messages': 'PAYMENT_MESSAGES_SECRET_ID',
} as const;
export type KeyPurpose = keyof typeof keySecrets;

/** Routes of the HTTP API. */
export const routes = {
  health: '/health',
  connect: '/google/connect',
  callback: '/google/callback',
  connection: '/connections/me',
  calendars: '/connections/me/calendars',
  bookings: '/bookings',
  booking: '/bookings/{id}',
  paymentAccounts: '/payment-accounts',
  paymentAccount: '/payment-accounts/{accountId}',
} as const;

/** Route of a payment provider's webhook. */
export const webhookRoute = <Provider extends string>(provider: Provider) => `/webhooks/${provider}` as const;

/** Sparse secondary indexes. They lag, so no decision rests on an index alone. */
export const indexes = {
  /** Connections by `refreshShard` (string) and `refreshAt` (number, epoch seconds). */
  refreshDue: 'refresh-due',
  /** Connections by `keyId` (string) and `userId`: to find the tokens that a key encrypts. */
  tokenKey: 'token-key',
  /** Connections by `googleSub` (string) and `userId`, with their status: who shares a Google account. */
  googleAccount: 'google-account',
  /** Bookings by `syncShard` (string) and `syncDueAt` (number, epoch seconds). */
  syncDue: 'sync-due',
  /** Bookings by `waitingUserId` (string) and `id`: the bookings that wait for that user's connection. */
  waiting: 'waiting',
  /** Bookings by `userId` (string) and `startsAt` (number, epoch seconds): those of a user, by time. */
  userBookings: 'user-bookings',
  /** Bookings by `attention` (`failed#3`: what about them, and a shard) and `attentionAt` (epoch seconds): for operators. */
  attention: 'attention',
  /** Connections by `email` (string) and `userId`: for operators. */
  email: 'email',
} as const;

/** Source and namespace of the events on the bus, and of the metrics. */
export const eventSource = 'leadscalendar.google-calendar';
export const metricNamespace = 'LeadsCalendar/GoogleCalendar';

/** Audiences of the tokens that LeadsCalendar signs: a link cannot be used as a bearer token, nor the reverse. */
export const audiences = {
  connect: 'leadscalendar-google/connect',
  api: 'leadscalendar-google/api',
} as const;
export type Audience = (typeof audiences)[keyof typeof audiences];

/** Scopes that a connection can do without: each only serves the feature it is named after. */
export const optionalScopes = {
  calendarList: 'https://www.googleapis.com/auth/calendar.calendarlist.readonly',
  freeBusy: 'https://www.googleapis.com/auth/calendar.freebusy',
} as const;
