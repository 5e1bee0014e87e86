/** What the codes of the public interface mean, for the generated pages. Each table is complete by its type; functions never load it. */

import type { OrphanReason } from '../shared/aws/bus-events.ts';
import type { PaymentStanding } from '../shared/booking/payment.ts';
import type { RevocationOutcome } from '../shared/connection/revocation.ts';
import type { CalendarFailureKind } from '../shared/google/calendar-failures.ts';
import type { IgnoredReason } from '../shared/http/api-schemas.ts';
import type { ErrorCode } from '../shared/lib/app-error.ts';

type ErrorReference = { status: readonly number[]; meaning: string; remedy: string };

/** `status`: none where the code appears in logs and problems only. */
export const errorCodes = {
  invalid_request: {
    status: [400],
    meaning:
      '`problems` says why, field by field: `invalid_field`, `calendar_not_found`, `calendar_not_writable` or `calendar_not_owned`',
    remedy: 'correct the request',
  },
  payload_too_large: {
    status: [413],
    meaning: 'the body is larger than 64 KiB; of a webhook, 1 MiB',
    remedy: 'send less; a webhook of that size is no payment event: check its sender',
  },
  unsupported_media_type: {
    status: [415],
    meaning: 'a patch of another format than a merge patch',
    remedy: '`application/merge-patch+json`',
  },
  signature_missing: {
    status: [400],
    meaning: '`Stripe-Signature`, or one of the three `webhook-…` or `svix-…` headers, is missing',
    remedy: 'another sender than the provider, the wrong endpoint, or a proxy that drops headers',
  },
  signature_malformed: {
    status: [400],
    meaning: 'the header does not read `t=…,v1=…`, or `v1,…`',
    remedy: 'as for `signature_missing`',
  },
  signature_mismatch: {
    status: [400],
    meaning: 'no secret of this provider gives this signature',
    remedy:
      'store the signing secret of this very endpoint (test and live differ), in the list of its provider',
  },
  timestamp_out_of_tolerance: {
    status: [400],
    meaning: 'signed more than 300 seconds away from our clock',
    remedy: 'a replay, or a wrong clock',
  },
  invalid_json: { status: [400], meaning: 'the body is not JSON', remedy: 'correct the sender' },
  unsupported_event_format: {
    status: [400],
    meaning: 'not the documented form (`problems` says where), or a thin event without an API key',
    remedy: 'correct the body; for thin events see [setup](setup.md)',
  },
  provider_not_configured: {
    status: [404],
    meaning: 'no signing secret for this provider',
    remedy: 'add it to the secret `webhook-signing`',
  },
  stripe_unreachable: {
    status: [503],
    meaning: 'the object of a thin event could not be fetched now',
    remedy: 'nothing: Stripe delivers again',
  },
  payment_account_not_found: {
    status: [404],
    meaning: 'the account is not bound to this user',
    remedy: 'bind it with `PUT`',
  },
  too_many_payment_accounts: {
    status: [409],
    meaning: 'the user has 100 payment accounts',
    remedy: 'unbind one, or name the account in the booking (`paymentAccount`)',
  },
  token_missing: {
    status: [401],
    meaning: 'no `token` in the link, or no bearer token',
    remedy: 'start from LeadsCalendar; send the header',
  },
  token_invalid: {
    status: [401],
    meaning:
      'wrong signature (also by the key for the other purpose), audience or claims, or valid for more than ten minutes',
    remedy: '`detail` names what is wrong; compare with [integrate](integrate.md)',
  },
  token_expired: { status: [401], meaning: 'too old', remedy: 'make a new one' },
  return_to_not_allowed: {
    status: [400],
    meaning: 'its origin is not listed',
    remedy: 'add it to `returnOrigins` and deploy',
  },
  state_missing: {
    status: [400],
    meaning: 'the callback was opened by hand',
    remedy: 'start from LeadsCalendar',
  },
  state_invalid: { status: [400], meaning: 'the state is not ours, or was changed', remedy: 'start again' },
  state_expired: {
    status: [400],
    meaning: "more than ten minutes on Google's pages",
    remedy: 'start again',
  },
  state_used: {
    status: [409],
    meaning: 'this link has connected already, or was tried five times',
    remedy: 'nothing; to connect another account, start again with a new link',
  },
  wrong_browser: {
    status: [403],
    meaning: 'another browser than the one that started, or cookies are blocked',
    remedy: 'start again in one browser',
  },
  access_denied: {
    status: [403],
    meaning: 'the user refused',
    remedy: 'start again to connect after all',
  },
  administrator_denied: {
    status: [403],
    meaning: 'the administrator of the Google account does not allow it',
    remedy: 'ask the administrator, or connect another Google account',
  },
  browser_unsupported: {
    status: [403],
    meaning: 'Google does not allow signing in inside this app',
    remedy: 'open LeadsCalendar in a browser',
  },
  authorization_failed: {
    status: [400],
    meaning: 'Google ended it with an error, or the code was used before',
    remedy: 'start again',
  },
  id_token_invalid: {
    status: [400, 502],
    meaning: "Google's proof of identity does not verify, or belongs to another attempt",
    remedy: 'start again; if it remains, see the log',
  },
  calendar_permission_missing: {
    status: [403],
    meaning: 'the calendar box was not ticked',
    remedy: 'start again and leave it ticked',
  },
  refresh_token_missing: {
    status: [409],
    meaning: 'Google gave no lasting access',
    remedy: 'remove the app at myaccount.google.com/permissions, then connect',
  },
  connection_not_found: {
    status: [404],
    meaning: 'this user has never connected',
    remedy: 'send the user to connect',
  },
  calendar_list_permission_missing: {
    status: [403],
    meaning: 'the list of calendars was not allowed',
    remedy: 'deploy with `optionalScopes`, let the user connect again; or choose a calendar by its id',
  },
  calendar_unavailable: {
    status: [503],
    meaning: 'Google Calendar could not answer',
    remedy: 'try again later',
  },
  calendar_switched_off: {
    status: [409],
    meaning: 'Google Calendar is switched off for this Google account',
    remedy: 'its owner or administrator turns it on; then send the request again',
  },
  booking_not_found: {
    status: [404],
    meaning: 'this user has no booking with that id',
    remedy: "another user's token, or declare it",
  },
  booking_cancelled: {
    status: [409],
    meaning: 'cancelled by `DELETE`, which is permanent',
    remedy: 'declare a new one under another id',
  },
  revision_mismatch: {
    status: [412],
    meaning: '`If-Match` names another revision than the booking is at',
    remedy: 'read it again, and decide again',
  },
  google_unreachable: { status: [503], meaning: 'no answer', remedy: 'try again later' },
  google_oauth_error: {
    status: [502],
    meaning: "another OAuth error of Google's token endpoint, named in the log",
    remedy: 'see the log',
  },
  google_unexpected_status: {
    status: [503],
    meaning: "an answer of Google's token endpoint that is no OAuth error",
    remedy: 'try again later',
  },
  google_unexpected_body: {
    status: [502],
    meaning: "success of Google's token endpoint without tokens",
    remedy: 'try again later',
  },
  google_grant_invalid: {
    status: [],
    meaning: 'Google no longer accepts a grant; becomes `reauthorization_required`',
    remedy: 'the user connects again',
  },
  google_client_misconfigured: {
    status: [503],
    meaning: 'Google refuses our client id, secret or redirect URI',
    remedy: "operator: compare the secret and the redirect URI with Google's console",
  },
  reauthorization_required: {
    status: [409],
    meaning: 'the connection does not work any more',
    remedy: 'the user connects again',
  },
  refresh_in_progress: {
    status: [503],
    meaning: 'another worker was refreshing this connection for too long',
    remedy: 'try again later',
  },
  token_unreadable: {
    status: [503],
    meaning:
      'a stored token cannot be decrypted: its key is not in the secret, or the row was changed; never held against the user',
    remedy: 'operator: put the key back into the secret',
  },
  payment_message_invalid: {
    status: [],
    meaning:
      'a payment in the queue has no valid MAC: it does not come from the webhook, or its key was retired',
    remedy: 'operator: see [dead letters](runbooks/dead-letters.md)',
  },
  not_configured: {
    status: [503],
    meaning: 'a secret has no value, or not the right form',
    remedy: 'operator: the log names it; [setup](setup.md) says what it wants',
  },
  schema_version_unsupported: {
    status: [503],
    meaning: 'an item or a message has a schema version that this release does not read',
    remedy:
      'operator: deploy the release that wrote it, or a later one; see [upgrade](upgrading.md#roll-back)',
  },
  concurrent_update: {
    status: [409],
    meaning: 'the booking or connection was being changed at the same moment, four times in a row',
    remedy: 'try again',
  },
  internal_error: {
    status: [500],
    meaning: 'something we did not foresee',
    remedy: 'see the log; the request may be repeated',
  },
} as const satisfies Record<ErrorCode, ErrorReference>;

export const paymentStandings = {
  unconfirmed: 'not known to be paid yet',
  failed: 'it will not be paid, as far as is known',
  paid: 'paid',
  partly_refunded: 'part of it is refunded, or lost in a dispute',
  disputed: 'a dispute about it is open',
  refunded: 'all of it is refunded',
  dispute_lost: 'nothing is left of it, and a lost dispute took a part',
} as const satisfies Record<PaymentStanding, string>;

export const revocations = {
  done: 'Google has revoked it, or had already',
  shared:
    'left alone: another user is connected to the same Google account, and would lose it too; `connection.account_shared` names them',
  pending: 'Google could not be asked; tried again in the background',
  abandoned:
    'given up after 30 tries in about a day; the user can revoke it at myaccount.google.com/permissions',
} as const satisfies Record<RevocationOutcome, string>;

export const ignoredWebhooks = {
  event_type: 'of a type that is ignored on purpose',
  unknown_event_type: 'of a type that this service does not know',
  other_mode:
    'of test mode in a deployment that serves live mode, or the reverse (`stripeMode`); without `livemode` it counts as test mode',
  connected_account:
    'of a connected account (it has `account` or `context`), at the webhook of your own account: see [Stripe Connect](setup.md#stripe-connect)',
  setup_session: 'a session of mode `setup`, which takes no money',
  subscription:
    'a session or invoice of a subscription: see [integrate](integrate.md#what-does-not-pay-for-a-booking)',
  invoice_needs_key: 'an invoice, without an [API key](setup.md#thin-events-and-invoices)',
  paid_out_of_band: 'an invoice paid out of band (`invoicesPaidOutOfBand`)',
  charge_without_intent: 'a charge without a PaymentIntent: use one',
  not_paid_yet: 'a session that completed before its money came; another event will follow',
  refund_without_payment: 'a refund that names no payment',
  no_booking: 'a payment that names no booking',
} as const satisfies Record<IgnoredReason, string>;

type OrphanReference = { what: string; booking: string; problem?: string };

export const orphanReasons = {
  booking_cancelled: {
    what: 'paid after `DELETE`',
    booking: 'stays cancelled',
    problem: 'paid_after_cancellation',
  },
  already_paid: {
    what: 'another payment had paid for it: a customer paid twice, or the rest',
    booking: 'unchanged; it is cancelled when all its payments are refunded',
    problem: 'paid_twice',
  },
  too_late: {
    what: 'the appointment was over, and has no event',
    booking: '`missed`, and `booking.missed`',
    problem: 'paid_too_late',
  },
  already_used: {
    what: 'the payment pays for the booking `paidBookingId`',
    booking: 'a declared one is unchanged; otherwise `failed`, and `booking.failed`',
    problem: 'payment_of_another_booking',
  },
  user_mismatch: {
    what: 'the booking belongs to another user than the payment names, or the named user id is unusable',
    booking: 'unchanged; the payment is a `failed` booking with its `paymentId` as id, and `booking.failed`',
    problem: 'user_mismatch',
  },
  account_mismatch: {
    what: 'it was paid to a [connected account](setup.md#stripe-connect) that is not bound to the user of the booking',
    booking:
      'unchanged; the payment is a `failed` booking of no user with its `paymentId` as id, and `booking.failed`. Bind the account and let Stripe send the event again: then it counts, and that one is cancelled',
    problem: 'account_mismatch',
  },
  booking_unknown: {
    what: 'it may only pay for a declared booking, and none with that id exists',
    booking:
      'none, or of several that it names a `failed` one under its id; declare it, and let the provider send the payment again within 90 days',
  },
} as const satisfies Record<OrphanReason, OrphanReference>;

type ProblemReference = { meaning: string; follows: string };
/** Failures of Google Calendar that are no problem of a booking: `exists` leads to another event id. */
type CalendarProblem = `google_${Exclude<CalendarFailureKind, 'exists'>}`;

/** Problems of Google Calendar, complete by the kinds of failure. */
const calendarProblems = {
  google_transient: {
    meaning: 'no answer, 5xx, or one that cannot be read',
    follows: 'tried again: 30 s, doubling up to 1 h',
  },
  google_rate_limited: {
    meaning: 'too many requests, for this booking or another one of the user',
    follows: "tried again: 60 s, doubling up to 1 h; the user's other bookings wait a minute or two",
  },
  google_stale: {
    meaning: 'the event was changed at the same moment',
    follows: 'tried again: 30 s, doubling up to 1 h',
  },
  google_gone: { meaning: 'the event was deleted at the same moment', follows: 'the same' },
  google_unauthorized: { meaning: 'a token that was just issued is refused', follows: 'the same' },
  google_operator: {
    meaning: 'the Google project is not set up, suspended, or without billing; `message` says what to do',
    follows: 'the same, and the alarm `OperatorError`',
  },
  google_quota_exceeded: {
    meaning: "the user's calendar has reached a limit",
    follows: 'tried again: 1 h, doubling up to 6 h',
  },
  google_account_refused: {
    meaning: 'Google does not allow it for the account or calendar',
    follows: 'the same; at once when the user connects or chooses a calendar, or with any `PUT` or `PATCH`',
  },
  google_not_found: {
    meaning: 'the chosen calendar does not exist, or is not shared',
    follows: 'tried again: 30 s, doubling up to 6 h; at once as above',
  },
  google_permission_missing: {
    meaning:
      "the user's permission does not cover the calendar of the event, for example one of another account; bookings in other calendars are not affected",
    follows:
      'tried again: 1 h, doubling up to 6 h; at once as above; an event that exists there is changed or deleted by hand',
  },
  google_refused: {
    meaning: 'Google rejects the data of the event, with its reason',
    follows: 'failed',
  },
} as const satisfies Record<CalendarProblem, ProblemReference>;

const orphaned = {
  meaning: 'a payment that does not change the booking',
  follows: '[what to do](events.md#orphaned-payments)',
};
const partRefused = {
  meaning: 'Google rejected this part of the event',
  follows: 'scheduled without it; tried again once you change that part',
};

/** Problems of a booking. A test compares its keys with the codes in the source. */
export const problems: Record<string, ProblemReference> = {
  invalid_booking: {
    meaning: 'the metadata in `field` is missing or unusable',
    follows: 'failed; declaring the booking corrects it, for the user that the payment names',
  },
  appointment_unreadable: {
    meaning: 'reading the appointment of a payment failed because of a fault in this service',
    follows: 'failed, and the alarm `OperatorError`; declaring the booking creates its event',
  },
  too_many_bookings: {
    meaning: 'a payment names more than 20 bookings',
    follows: 'it counts for the first 20; the others need a payment of their own',
  },
  user_mismatch: orphaned,
  account_mismatch: orphaned,
  payment_of_another_booking: orphaned,
  booking_unknown: orphaned,
  paid_after_cancellation: orphaned,
  paid_twice: orphaned,
  paid_too_late: orphaned,
  calendar_conflict: {
    meaning: 'another event exists at that time, or another booking has taken the slot at the same moment',
    follows: 'by `onConflict`: created all the same, or status `conflict`',
  },
  calendar_conflict_unknown: {
    meaning: 'whether another event exists then is unknown',
    follows: 'created',
  },
  no_connection: { meaning: 'the user has no working connection', follows: 'waits for it' },
  not_published: {
    meaning: 'the status change could not be published yet',
    follows: 'tried again soon; the calendar is as it should be, as far as is known',
  },
  event_in_doubt: {
    meaning: 'Google does not find an event that exists, or that an earlier attempt may have created',
    follows:
      'status as before, or `pending`; read again after a minute, and gone only if a second read agrees while the calendar answers',
  },
  older_event_may_remain: {
    meaning:
      'the earlier event is gone from its calendar; its owner may have moved it to one that cannot be searched; not where this service itself deleted it',
    follows:
      'created again, cancelled, or `deleted_by_user`; the owner deletes the older event by hand. Gone once the event is found again',
  },
  event_in_former_account: {
    meaning:
      'an earlier event of the booking is in the calendar of the Google account that the user connected before',
    follows:
      'created in the connected account, or cancelled; the owner deletes the older event by hand, or [connects that account again](integrate.md#events-in-a-former-account)',
  },
  meet_refused: partRefused,
  guests_refused: {
    ...partRefused,
    meaning: 'Google rejected the guests or one of their three permissions',
  },
  reminders_refused: partRefused,
  color_refused: partRefused,
  source_refused: partRefused,
  time_zone_refused: {
    meaning: 'Google does not know the name of the time zone',
    follows: 'scheduled at the right time, shown in the zone of the calendar',
  },
  ...calendarProblems,
};
