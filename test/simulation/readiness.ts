/**
 * What the service is ready for. What is off is neither drawn nor checked; `SIMULATE=all` turns everything on, and
 * `SIMULATE=passingAnswers,guests` only these.
 */
const built = {
  /** Passing 404 and 410 at every call that addresses an event or a calendar. */
  passingAnswers: true,
  /** Pages instead of JSON, unknown 403s and bursts of 429 at every call; Calendar switched off for an account. */
  rejections: true,
  /** Ordinary actions end every stuck booking. */
  repairs: true,
  /** Every payment that references a booking has a visible outcome. */
  paymentOutcomes: true,
  /** Payments of other users, accounts and modes; one payment for two bookings; partial captures. */
  payments: true,
  /** One payment for several bookings. */
  packages: true,
  /** Payments to connected accounts, which users bind and unbind. */
  connect: true,
  /** Holds that are renewed after a failed payment. */
  holds: true,
  /** Guests who respond, guests and edits of the owner. */
  guests: true,
  /** Optional fields that Google rejects. */
  optionalFields: true,
  /** Events that their owner moves to another calendar. */
  moves: true,
  /** Whole days, local times, calendars in several time zones. */
  days: true,
  /** A calendar that is deleted while it is chosen. */
  deletedCalendars: true,
  /** A chosen calendar of another account, shared and not. */
  sharedCalendars: false,
};

const asked = (process.env.SIMULATE ?? '').split(',');
export type Readiness = Record<keyof typeof built, boolean>;
export const ready: Readiness = Object.fromEntries(
  Object.entries(built).map(([name, on]) => [name, on || asked.includes('all') || asked.includes(name)]),
) as Readiness;
