/** What operators see of the stack: its outputs, alarms and metrics. For the constructs and for docs/configuration.md. */
import type { MetricName } from '../shared/lib/observability.ts';

/** Description of each output. */
export const outputReference = {
  ApiUrl: 'The API',
  CallbackUrl: 'Redirect URI to register at Google',
  WebhookUrl: 'Webhook endpoint to register at Stripe',
  StandardWebhookUrl: 'Webhook endpoint for providers that sign by Standard Webhooks',
  ConnectWebhookUrl: 'With stripeConnect: webhook endpoint to register at Stripe for connected accounts',
  GoogleOauthClientSecret: "Secret for Google's client file, empty after the first deploy",
  WebhookSigningSecret: 'Secret for the signing secrets of the providers, empty after the first deploy',
  StripeApiSecret: 'Secret for API keys of Stripe, empty after the first deploy',
  LinkSigningSecret: 'Secret with the keys with which the backend signs connect links',
  ApiSigningSecret: 'Secret with the keys with which the backend signs bearer tokens',
  TokenEncryptionSecret: "Secret with the keys that encrypt Google's tokens",
  StateEncryptionSecret: 'Secret with the keys that encrypt the OAuth state',
  PaymentMessagesSecret: 'Secret with the keys of the MACs of payment messages',
  BusName: 'The event bus for LeadsCalendar',
  ConnectionsTableName: 'The table of connections',
  BookingsTableName: 'The table of bookings and payment pointers',
  QueueUrl: 'The queue of bookings',
  DeadLettersUrl: 'Its dead-letter queue',
  DomainTarget: 'With domainName: what its record points to, where the zone is not in Route 53',
  EventsUrl: 'With eventsUrl: where events are posted',
  EventsKeySecret: 'With eventsUrl: secret with the key that each posted event carries',
  EventsConnectionName: 'With eventsUrl: the connection that a new key is written to',
  UndeliveredEventsUrl: 'With eventsUrl: the queue of events that were not delivered',
  StripeEventSource: 'With stripeEventSource: that source, whose events the bus of its name gets',
  StripeEventsQueueUrl: "With stripeEventSource: the queue of Stripe's events",
  StripeEventsDeadLettersUrl: 'With stripeEventSource: its dead-letter queue',
};
export type OutputName = keyof typeof outputReference;

/** The header with the key that authenticates us to the receiver of events. */
export const eventsKeyHeader = 'X-Api-Key';

/** Seconds after which a due booking must have been tried. */
export const longestDueSeconds = 300;

/** This share of paid bookings is in the calendar in time. Below so many bookings it says nothing. */
export const serviceLevel = { percent: 95, milliseconds: 60_000, leastBookings: 10 };

/** Positions of signing secrets that are watched: a roll needs two. */
export const secretPositions = ['0', '1', '2', '3'];

/** Each alarm needs a person. The texts are its description, with its page in docs/runbooks. */
export const alarmReference = {
  DeadLetters: {
    means: 'A message was received five times and could not be processed',
    remedy: 'Repair the cause, then redrive',
  },
  UndeliveredEvents: {
    means: 'The receiver at eventsUrl refused events, or was unavailable for a day',
    remedy: 'Repair it, then post the events within 14 days',
  },
  QueueAge: {
    means: 'A message has waited 15 minutes: booking-sync, or stripe-events, fails or cannot keep up',
    remedy: 'See its log, or raise syncConcurrency',
  },
  OldestDue: {
    means: 'A booking has been due for more than 5 minutes and was not tried',
    remedy: 'See the logs of booking-reconcile and booking-sync',
  },
  ScheduleStopped: {
    means: 'A scheduled function has not finished a run for three of its intervals',
    remedy: 'See its log, and whether its schedule is enabled',
  },
  PaidBookingFailed: {
    means: 'A customer has paid, and there will be no event as things are',
    remedy: 'List the bookings, repair their cause, then retry',
  },
  AuditFindings: {
    means: 'The audit has found bookings or events that are neither correct nor visibly waiting',
    remedy: 'List the findings, and repair each',
  },
  ServiceLevel: {
    means: 'Of at least ten paid bookings in an hour, fewer than 95 % were in the calendar within 60 seconds',
    remedy: 'See what slows booking-sync down',
  },
  OperatorError: {
    means: 'Only the operator can repair it: for example, a secret is missing or Google refuses our client',
    remedy: 'The log names the code',
  },
  FunctionErrors: {
    means: 'Functions have been crashing or timing out for 15 minutes',
    remedy: "See the function's log from ERROR on. The next scheduled run makes up for a failed one",
  },
  FunctionThrottles: {
    means: 'Lambda has refused to run functions for 15 minutes; webhooks and users get errors',
    remedy: "Raise the account's quota of concurrent runs, or reservedConcurrency",
  },
  ApiErrors: {
    means: 'The API answered 5xx at least three times in 15 minutes',
    remedy: 'The access log names the route, the log of its function the cause',
  },
  WebhookErrors: {
    means: 'A payment is not recorded: its webhook was answered 5xx, or was signed and unreadable',
    remedy: 'See the log of payment-confirmed. The provider repeats the webhook for a limited time only',
  },
  PaymentsRecovered: {
    means: "Payments were found among Stripe's events that no webhook had delivered",
    remedy: 'They are recorded. Repair the endpoint at Stripe',
  },
  /** One for each payment provider, whose name is appended. */
  WebhooksRejected: {
    means: 'At least five webhooks of the provider were rejected in 15 minutes, and none was accepted',
    remedy:
      'Compare its signing secret with the secret webhook-signing. The provider repeats webhooks for a limited time only',
  },
} satisfies Record<string, { means: string; remedy: string }>;
export type AlarmName = keyof typeof alarmReference;

/** The page for the operator who gets the alarm. */
export function runbookOf(name: AlarmName): string {
  return `docs/runbooks/${name.replace(/(?!^)[A-Z]/g, '-$&').toLowerCase()}.md`;
}

/** What each metric counts, and by which dimensions. */
export const metricReference = {
  WebhookVerified: 'webhooks with a valid signature, by `provider` and position in its list (`secret`)',
  WebhookRejected: 'webhooks answered 400, by `provider` and `code`',
  WebhookIgnored: 'webhooks answered 200 and ignored, by `reason`',
  EventsSwept: 'events of Stripe that one run of payment-recovery has read',
  PaymentsRecovered: "payments, refunds and disputes that were found among Stripe's events before a webhook",
  UsersAudited: 'users that one run of audit has checked',
  AuditFindings:
    'differences between bookings and calendars that are open: neither correct nor visibly waiting, each hour',
  BookingSynced: 'recorded outcomes, checks and postponements, by `status`',
  BookingsRequeued: 'bookings that were due, each minute',
  OldestDue: 'seconds for which the oldest booking has been due, each minute',
  PaymentToEvent:
    'milliseconds from the confirmation of a payment, or the declaration of its booking, to the event; of bookings that waited for no person',
  PaidBookingFailed: 'paid bookings that turned `failed` or `missed`, by `status`',
  CalendarRefused: 'accounts or calendars that Google refuses, once per booking and reason',
  ConnectionActivated: 'completed connections',
  TokenRefreshed: 'successful refreshes',
  RefreshSweepFailures: 'connections that one sweep could not refresh, for a reason that may pass',
  ReauthorizationRequired: 'connections that broke',
  UnknownOAuthError: 'OAuth errors of Google that this service does not know',
  GrantRevocation: 'grants to be revoked at Google, by `outcome`',
  TokensOnOldKey: 'connections on a key that is not current, by `key`, at most 100 a run',
  UserTokenVerified: 'valid link and bearer tokens, by `purpose` and `key`',
  OperatorError: 'errors that only the operator can repair',
  RequestFailed: 'requests answered 5xx, by `route`',
} satisfies Record<MetricName, string>;
