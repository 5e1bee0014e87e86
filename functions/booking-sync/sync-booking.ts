import type { BusEventType } from '../../shared/aws/bus.ts';
import {
  type Booking,
  type BookingStatus,
  calendarEventId,
  type EventPlace,
  type OptionalPart,
} from '../../shared/booking/booking.ts';
import { isInFormerAccount } from '../../shared/booking/former-account.ts';
import type { BookingQueue, PaymentReported, Sent, SyncRequested } from '../../shared/booking/queue.ts';
import type { BookingStore, LoadSnapshot, SyncSnapshot } from '../../shared/booking/store.ts';
import { getAccess, recordUse, type TokenDeps } from '../../shared/connection/access-token.ts';
import type { GrantedConnection } from '../../shared/connection/connection.ts';
import {
  type CalendarApi,
  type CalendarEvent,
  type EventBody,
  getEvent,
  insertEvent,
  patchEvent,
  readCalendar,
} from '../../shared/google/calendar.ts';
import { AppError, isOperatorError } from '../../shared/lib/app-error.ts';
import { describeError, log, metric, reportOperatorError } from '../../shared/lib/observability.ts';
import { applyPayment, type PaymentPolicy, type Presence } from './apply-payment.ts';
import { bookingEvent, orphanedEvents } from './booking-events.ts';
import {
  composeEvent,
  deleteOptions,
  isEventOf,
  isOurs,
  isRight,
  mustReadGuests,
  type WriteBasis,
  writeOptions,
} from './calendar-event.ts';
import { concede } from './concede.ts';
import { beside, isChecked, keepOrYield, lookForConflict } from './conflicts.ts';
import { contended, maxRounds } from './contention.ts';
import {
  type ConflictPolicy,
  cancelled,
  conflicting,
  deletedByUser,
  isConflict,
  isToBeSettled,
  isUncertain,
  lookAgain,
  missed,
  nextStep,
  type Outcome,
  problemOf,
  type Step,
  triedInVain,
  verified,
  type Work,
  waiting,
  withNextId,
  yielded,
} from './decide.ts';
import { deleteLeftEvents } from './delete-left-events.ts';
import { toBeRechecked } from './doubt.ts';
import { leftWithinReach, withAccount, withoutFormerDoubt } from './former-account.ts';
import { heedPause } from './heed-pause.ts';
import {
  confirmedLater,
  isMissing,
  mayPass,
  notFound,
  placeOf,
  readKnownEvent,
  removeGivenUp,
} from './known-event.ts';
import { lacksZone, withZone, zoneOf } from './missing-zone.ts';
import { writeWithoutRejected } from './optional-parts.ts';
import { type OwnDeletions, requestDeletion, withOwnDeletions } from './own-deletions.ts';
import { point, reject, remember, see } from './payment-pointer.ts';
import { eventChecked, eventFound, eventWritten } from './record-event.ts';
import { ask, isOtherAccount, overtaken, type Session } from './session.ts';
import { claimTextOf } from './slot-claim.ts';
import { placeStored, placeWholeDays, placeWithGoogle } from './whole-days.ts';
import { writtenOf } from './written-event.ts';

export type SyncDeps = TokenDeps & {
  readForSync: LoadSnapshot;
  bookings: Pick<BookingStore, 'save' | 'savePointer'>;
  queue: Pick<BookingQueue, 'send'>;
  calendar: CalendarApi;
  paymentPolicy: PaymentPolicy;
  conflictPolicy: ConflictPolicy;
};

/**
 * Seconds for which a run believes what it has read of a booking. Lambda ends it before long; one that stood still for
 * longer and goes on would write what nobody wants any more.
 */
const goodFor = 20;
/** Seconds in which the queue hands out a message for the first time, as a rule. */
const freshFor = 150;
/**
 * Makes the calendar agree with a booking: reads, decides, acts, and records the outcome under the version it has
 * read. Where that has changed meanwhile, it reads and decides again. When this returns, the table holds the outcome
 * or the time of the next attempt, and the message may be acknowledged; when it throws, nothing is lost either, for
 * the message stays.
 */
export async function syncBooking(
  deps: SyncDeps,
  message: (PaymentReported | SyncRequested) & Sent,
  delivery: { repeated: boolean } = { repeated: false },
): Promise<void> {
  // A message that comes again may come from a run that was cut off: between Google and the table, or between a booking
  // and the pointer to it, which may lead elsewhere by now.
  const checkSlot = message.type === 'sync' && message.checkSlot === true;
  let suspect = delivery.repeated || isOld(message, deps.clock());
  const recorded = new Set<string>();
  const run: Run = { toldInVain: false, ownDeletions: new Map() };
  for (let round = 0; round < maxRounds; round++) {
    const readAt = deps.clock();
    const seen = await placeStored(await see(deps, message));
    const { payment } = seen;
    const applied = payment ? applyPayment(seen.booking, payment, seen.pointer, deps.clock()) : seen.booking;
    const booking = applied && (await placeWholeDays(applied, seen.connection));
    if (!booking) {
      if (!payment) return warnOfNothing(message as SyncRequested);
      if (await remember(deps, payment, seen.pointer)) return;
      continue;
    }
    const done = await syncOnce(deps, booking, seen, { suspect, readAt, run, checkSlot });
    if (done !== 'done') {
      suspect ||= done !== 'overtaken';
      continue;
    }
    recorded.add(booking.bookingId);
    if (!payment || message.type !== 'payment') return;
    if (!(await point(deps, payment, seen.pointer, booking))) continue;
    const isMismatch = payment.orphan?.reason === 'user_mismatch' || message.booking?.unusableUser;
    const reason = isMismatch ? 'user_mismatch' : 'already_used';
    for (const other of bookingsWithout(message, booking, { recorded, suspect })) {
      const detached = await reject(deps, other, message, { booking, reason, suspect });
      if (detached) await syncBooking(deps, detached);
    }
    return;
  }
  throw contended();
}

/**
 * Whether a message may have been tried before although the queue does not say so: when an operator hands it back from
 * the dead-letter queue, its count begins anew.
 */
function isOld({ sentAt }: Sent, now: number): boolean {
  return sentAt !== undefined && now - sentAt > freshFor;
}

/** Other bookings for which the payment does not count: referenced, or recorded by this run or one that crashed. */
function bookingsWithout(
  { booking: named, paymentId }: PaymentReported,
  { bookingId }: Booking,
  { recorded, suspect }: { recorded: Set<string>; suspect: boolean },
): Set<string> {
  const others = new Set(recorded);
  if (named && named.bookingId !== bookingId) {
    others.add(named.bookingId);
    if (suspect) others.add(paymentId);
  }
  others.delete(bookingId);
  return others;
}

function warnOfNothing({ bookingId }: SyncRequested): void {
  log.warn('Asked to sync a booking that does not exist', { bookingId });
}

/** What a message has led to so far, over all its rounds. */
type Run = {
  /** News was published and the booking could not be saved. */
  toldInVain: boolean;
  ownDeletions: OwnDeletions;
};

/** Carries out the next step for a booking, and says whether it was recorded or the booking has changed meanwhile. */
async function syncOnce(
  deps: SyncDeps,
  booking: Booking,
  { booking: stored, connection }: SyncSnapshot,
  { run, ...reading }: { suspect: boolean; checkSlot: boolean; readAt: number; run: Run },
): Promise<'done' | 'more to do' | 'overtaken' | 'overtaken after a change'> {
  const { random, paymentPolicy: policy } = deps;
  const { suspect, checkSlot, readAt } = reading;
  // Published before Google is called: what follows may fail and be tried again without this payment.
  const orphans = orphanedEvents(stored, booking, deps.clock());
  if (orphans.length > 0) await deps.bus.publish(...orphans);
  const situation = { booking, stored, connection, now: deps.clock(), random, policy, suspect, checkSlot };
  const step = heedPause(nextStep(situation), situation);
  if (step.do === 'nothing') {
    if (run.toldInVain) await tell(deps, withNews({ booking }));
    return 'done';
  }
  const decided = step.do === 'record' ? step.outcome : await act(deps, step, { ...reading, ...run });
  const ended = decided && {
    ...decided,
    booking: withOwnDeletions(decided.booking, booking, run.ownDeletions),
  };
  const outcome = ended && run.toldInVain ? withNews(ended) : ended;
  // Whoever stood still may tell of an event that somebody else has taken out since, and not recorded yet.
  if (!outcome || deps.clock() > readAt + goodFor) return 'overtaken after a change';
  const told = await tell(deps, outcome).catch((error: unknown) => {
    if (step.do === 'record') throw error;
    // Google's calendar has been changed. What follows must not hang on this message, which may become a dead letter.
    log.warn('News could not be published', { bookingId: booking.bookingId, error: describeError(error) });
    const problem = { code: 'not_published', message: 'What has become of it could not be published yet.' };
    return triedInVain(booking, problem, deps.clock(), random);
  });
  if (await save(deps, withOwnDeletions(told.booking, booking, run.ownDeletions)))
    return told.again ? 'more to do' : 'done';
  run.toldInVain ||= told.event !== undefined;
  return step.do === 'record' ? 'overtaken' : 'overtaken after a change';
}

/** The outcome, told also where it is none for who was told last: after news of ours that somebody else's has overtaken. */
function withNews(outcome: Outcome): Outcome {
  const event = outcome.event ?? newsOfStatus[outcome.booking.status];
  return event ? { ...outcome, event } : outcome;
}

/** Publishes what has become of a booking. Before it is stored: then nobody would publish it after a crash. */
async function tell(deps: SyncDeps, outcome: Outcome): Promise<Outcome> {
  const { booking, event } = outcome;
  const news = newsOf(booking, event);
  if (news.length > 0)
    await deps.bus.publish(...news.map((type) => bookingEvent(type, booking, deps.clock())));
  return outcome;
}

async function save(deps: SyncDeps, booking: Booking): Promise<boolean> {
  const saved = await deps.bookings.save(booking);
  if (saved) {
    const { bookingId, status, syncDueAt, problems } = booking;
    log.info('Booking synced', { bookingId, status, syncDueAt, problem: problems[0]?.code });
    metric('BookingSynced', 1, { status });
  }
  return saved;
}

/** What was told of a booking that stands so. Nothing is told of others. */
const newsOfStatus: Partial<Record<BookingStatus, NonNullable<Outcome['event']>>> = {
  scheduled: 'booking.scheduled',
  cancelled: 'booking.cancelled',
  waiting_for_connection: 'booking.waiting',
  conflict: 'booking.conflict',
  deleted_by_user: 'booking.deleted_by_user',
  missed: 'booking.missed',
  failed: 'booking.failed',
};

/** An appointment that was entered beside another one, or may have been, is news of its own. */
function newsOf({ problems }: Booking, event: Outcome['event']): BusEventType[] {
  if (!event) return [];
  const beside = event === 'booking.scheduled' && problems.some(isConflict);
  return beside ? [event, 'booking.conflict'] : [event];
}

type Reading = { suspect: boolean; checkSlot: boolean; readAt: number; ownDeletions: OwnDeletions };

/**
 * Gets a token and carries out what is to be done; every way this can go ends in an outcome, or in nothing where the
 * booking has changed meanwhile, or may have.
 */
async function act(
  deps: SyncDeps,
  step: Extract<Step, { do: Work }>,
  reading: Reading,
): Promise<Outcome | undefined> {
  const outcome = await actInAccount(deps, step, reading);
  return outcome && withAccount(outcome, step.connection);
}

/** The same, where the account of the connection is not recorded yet. */
async function actInAccount(
  deps: SyncDeps,
  { do: work, booking: given, presence, connection }: Extract<Step, { do: Work }>,
  { suspect, checkSlot, readAt, ownDeletions }: Reading,
): Promise<Outcome | undefined> {
  const isCheck = work === 'verify' || work === 'delete left events';
  let booking = withoutFormerDoubt(given, connection, deps.clock());
  const isSettling = isToBeSettled(booking, readAt);
  const uncertain = !isSettling && isUncertain({ booking: given, suspect });
  try {
    const access = await getAccess(deps, connection);
    if (isOtherAccount(access.connection, connection)) return undefined;
    const until = readAt + goodFor;
    const session: Session = { access, refreshed: false, until, uncertain, isSettling, ownDeletions };
    const used = session.access.connection;
    const mayStray = work === 'verify' || !booking.observed || uncertain || isSettling;
    const refused =
      mayStray && work !== 'delete left events' ? await removeStrays(deps, session, booking) : undefined;
    if (refused) return isCheck ? lookAgain(booking, deps.clock()) : refused;
    const hindered = await removeGivenUp(deps, session, booking);
    if (hindered) return isCheck ? lookAgain(booking, deps.clock()) : hindered;
    booking = await deleteLeftEvents(deps, session, booking);
    const [outcome] = await Promise.all([works[work](deps, session, booking, presence), noteUse(deps, used)]);
    return checkSlot && work !== 'delete left events'
      ? await keepOrYield(deps, session, booking, outcome)
      : outcome;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    if (error.code === 'concurrent_update') return undefined;
    if (isOperatorError(error)) reportOperatorError('A booking waits until the service is set up', error);
    if (isCheck) return lookAgain(booking, deps.clock());
    if (error.code === 'reauthorization_required') return waiting(booking, deps.clock(), deps.random);
    return triedInVain(booking, { code: error.code, message: error.message }, deps.clock(), deps.random);
  }
}

/** Enters the event, unless something else stands at that time and the operator wants it not entered then. */
async function insert(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  presence: Presence,
): Promise<Outcome> {
  const conflict = await lookForConflict(deps, session, booking);
  if (typeof conflict === 'object') return concede(deps, session, booking, conflict);
  if (conflict === 'busy' && deps.conflictPolicy === 'hold') {
    const { calendarId } = session.access.connection;
    const eventId = calendarEventId(booking.bookingId, calendarId, booking.generation);
    const outcome = conflicting(booking, deps.clock(), session.uncertain);
    return confirmedLater(deps, session, booking, { outcome, place: { calendarId, eventId } }) ?? outcome;
  }
  const claim = conflict === 'free' && isChecked(deps, booking) ? claimTextOf(booking) : undefined;
  const outcome = await enter(deps, session, booking, presence, claim);
  if (!outcome.booking.observed) return outcome;
  if (conflict !== 'free') return beside(outcome, conflict);
  return claim === undefined ? outcome : keepOrYield(deps, session, booking, outcome);
}

/** Inserts the event, or finds that it stands already, as it should or not. */
async function enter(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  presence: Presence,
  claim?: string,
): Promise<Outcome> {
  const calendarId = booking.observed?.calendarId ?? session.access.connection.calendarId;
  const id = booking.observed?.eventId ?? calendarEventId(booking.bookingId, calendarId, booking.generation);
  const { refused } = booking.observed?.written ?? { refused: {} };
  const basis = {
    requestId: requestIdOf(booking, id),
    claim,
    written: { fields: {}, guests: {}, refused },
  };
  const { answer, ...written } = await writeWithoutRejected(
    (omit) => composeEvent(booking, presence, { ...basis, omit }),
    (body) =>
      ask(deps, session, (token) =>
        insertEvent(deps.calendar, token, calendarId, id, body, writeOptions(booking, presence)),
      ),
  );
  if (answer.ok) {
    // An earlier request may yet enter it into the calendar that was chosen then.
    const unsettled = session.uncertain && chosenBefore(deps, session).length > 0;
    const place = { presence, calendarId, event: answer.value };
    return eventWritten(booking, place, written, deps.clock(), unsettled);
  }
  // The calendar of a known event is not found: so is the event.
  const isLost = booking.observed && isMissing(answer.failure);
  if (answer.failure.kind !== 'exists' && !isLost) return concede(deps, session, booking, answer.failure);

  // The id is taken: by our own event, if an earlier run got so far and no further; otherwise by one in the way.
  return lookAndMend(deps, session, booking, presence, { calendarId, id });
}

/** Makes the event on record show what is desired. */
async function update(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  presence: Presence,
): Promise<Outcome> {
  const { observed } = booking;
  if (!observed) return enter(deps, session, booking, presence);
  const { calendarId, eventId: id, etag, written: before } = observed;
  if (booking.doubt || mustReadGuests(booking, presence))
    return lookAndMend(deps, session, booking, presence, { calendarId, id });
  const { answer, ...written } = await patch(deps, session, booking, presence, {
    calendarId,
    event: { id, etag },
    basis: { written: before },
  });
  if (answer.ok) {
    const place = { presence, calendarId, event: answer.value };
    return eventWritten(booking, place, written, deps.clock());
  }
  if (answer.failure.kind !== 'stale' && !isMissing(answer.failure))
    return concede(deps, session, booking, answer.failure);
  return lookAndMend(deps, session, booking, presence, { calendarId, id });
}

/** Changes an event, without the optional parts that Google rejects, and with a time zone where Google needs one. */
async function patch(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  presence: Presence,
  {
    calendarId,
    event,
    basis,
  }: {
    calendarId: string;
    event: Pick<CalendarEvent, 'id' | 'etag' | 'start'>;
    basis: Omit<WriteBasis, 'requestId'>;
  },
) {
  const requestId = requestIdOf(booking, event.id);
  const compose = (omit: ReadonlySet<OptionalPart>) =>
    composeEvent(booking, presence, { ...basis, requestId, omit });
  const send = (body: EventBody) =>
    ask(deps, session, (token) =>
      patchEvent(deps.calendar, token, calendarId, event, body, writeOptions(booking, presence)),
    );
  const first = await writeWithoutRejected(compose, send);
  if (first.answer.ok || !lacksZone(first.answer.failure, first.write.body)) return first;
  const zone = await zoneOf(deps, session, { calendarId, event });
  if (!zone.ok) return { ...first, answer: zone };
  const { value } = zone;
  if (value === undefined) return first;
  return writeWithoutRejected(compose, async (body) => send(await withZone(body, value)));
}

function requestIdOf({ revision }: Booking, eventId: string): string {
  return `${eventId}-${revision}`;
}

/** Looks whether the event on record still stands. What its owner has changed in it is left so. */
async function verify(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  presence: Presence,
): Promise<Outcome> {
  const { observed } = booking;
  if (!observed) return verified(booking, undefined, deps.clock());
  const { calendarId, eventId } = observed;
  const known = await readKnownEvent(deps, session, booking, { place: { calendarId, eventId }, presence });
  // A check that failed leaves the status as it is.
  if (known.is === 'open')
    return known.outcome.booking.status === booking.status ? known.outcome : lookAgain(booking, deps.clock());
  if (known.is === 'gone' || !isEventOf(known.event, booking))
    return deletedByUser(booking, known.is === 'gone' ? known.booking : booking, deps.clock());
  const followed = { ...booking, observed: { ...observed, calendarId: known.calendarId } };
  return eventChecked(verified(followed, known.event, deps.clock()), known.event);
}

/**
 * Looks for the event that an attempt of which nobody heard may have entered, now that it is too late to enter it.
 */
async function find(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  presence: Presence,
): Promise<Outcome> {
  const { calendarId } = session.access.connection;
  const id = calendarEventId(booking.bookingId, calendarId, booking.generation);
  const place = { calendarId, eventId: id };
  const known = await readKnownEvent(deps, session, booking, { place, presence });
  if (known.is === 'found' && isOurs(known.event, booking))
    return mend(deps, session, booking, presence, calendarId, known.event);
  if (known.is !== 'open') return missed(booking, deps.clock());
  const isOver = (booking.appointment?.endsAt ?? 0) <= deps.clock();
  const isToBeRead = known.outcome.booking.doubt && !booking.doubt;
  return isOver && !isToBeRead ? missed(booking, deps.clock()) : known.outcome;
}

/**
 * Takes out what an attempt of which nobody heard may have left in a calendar that its user had chosen then, and not
 * any more. Google is asked nothing where none was chosen lately. The outcome of the run where it does not let us.
 */
async function removeStrays(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
): Promise<Outcome | undefined> {
  const chosen = session.access.connection.calendarId;
  const home = booking.observed?.calendarId ?? chosen;
  for (const calendarId of new Set([chosen, ...chosenBefore(deps, session)])) {
    if (calendarId === home) continue;
    const id = calendarEventId(booking.bookingId, calendarId, booking.generation);
    const found = await ask(deps, session, (token) => getEvent(deps.calendar, token, calendarId, id));
    // A calendar that the user has given up may refuse us, or be gone: that keeps nothing out of the chosen one.
    if (!found.ok && mayPass(found.failure)) return concede(deps, session, booking, found.failure);
    if (!found.ok || !isOurs(found.value, booking)) continue;
    const place = { calendarId, eventId: id };
    const answer = await requestDeletion(deps, session, place, deleteOptions(booking, found.value));
    if (!answer.ok && mayPass(answer.failure)) return concede(deps, session, booking, answer.failure);
    // It was there a moment ago: not deleted, as far as is known.
    if (!answer.ok && isMissing(answer.failure))
      return triedInVain(booking, problemOf(answer.failure), deps.clock(), deps.random);
  }
  return undefined;
}

/** The calendars that the user had chosen lately. */
function chosenBefore(deps: SyncDeps, { access: { connection } }: Session): string[] {
  const lately = (connection.formerCalendars ?? []).filter(
    (former) => former.until > deps.clock() && !isInFormerAccount(former, connection),
  );
  return lately.map(({ calendarId }) => calendarId);
}

/** Reads what stands under an id, and changes it where it is ours and not as it should be. */
async function lookAndMend(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  presence: Presence,
  { calendarId, id }: { calendarId: string; id: string },
): Promise<Outcome> {
  const place = { calendarId, eventId: id };
  const known = await readKnownEvent(deps, session, booking, { place, presence });
  if (known.is === 'open') return known.outcome;
  if (known.is === 'gone') return withNextId(known.booking, deps.clock());
  if (!isEventOf(known.event, booking)) return withNextId(booking, deps.clock());
  return mend(deps, session, booking, presence, known.calendarId, known.event);
}

/**
 * Changes an event of ours where it is not as it should be. It may be as somebody else has just made it who knows more,
 * so the booking is read once more before.
 */
async function mend(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  presence: Presence,
  calendarId: string,
  event: CalendarEvent,
): Promise<Outcome> {
  const place = { presence, calendarId, event };
  if (isRight(event, booking, presence)) return eventFound(booking, place, deps.clock(), session.uncertain);
  const { booking: now } = await deps.readForSync({ bookingId: booking.bookingId });
  if ((now?.version ?? 0) !== booking.version) throw overtaken();
  const { answer, ...written } = await patch(deps, session, booking, presence, {
    calendarId,
    event,
    basis: { written: writtenOf(event), guests: event.attendees },
  });
  if (answer.ok) return eventWritten(booking, { ...place, event: answer.value }, written, deps.clock());
  if (isMissing(answer.failure))
    return notFound(deps, booking, { place: { calendarId, eventId: event.id }, presence });
  return concede(deps, session, booking, answer.failure);
}

/** Deletes the event that is known, or one that a crashed run may have left under the id it would use. */
function remove(deps: SyncDeps, session: Session, booking: Booking, presence: Presence): Promise<Outcome> {
  const place = placeOf(booking);
  const isUnknown = !booking.observed && session.isSettling;
  if (!place || isUnknown) return removeUnknown(deps, session, booking);
  const ended = (known: Booking): Outcome => cancelled(known, booking.generation + 1, deps.clock());
  return removeKnown(deps, session, booking, { place, presence, ended });
}

/** Deletes the event of a booking whose slot another one keeps. */
async function withdraw(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  presence: Presence,
): Promise<Outcome> {
  const place = placeOf(booking);
  const ended = (known: Booking): Outcome => yielded(known, deps.clock());
  return place ? removeKnown(deps, session, booking, { place, presence, ended }) : ended(booking);
}

/** Deletes a known event. `ended`: the outcome once it is gone. */
async function removeKnown(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  { place, presence, ended }: { place: EventPlace; presence: Presence; ended: (known: Booking) => Outcome },
): Promise<Outcome> {
  if (booking.observed && !booking.doubt) {
    const answer = await requestDeletion(deps, session, place, deleteOptions(booking));
    if (answer.ok) return ended(booking);
    if (!isMissing(answer.failure)) return concede(deps, session, booking, answer.failure);
  }
  const known = await readKnownEvent(deps, session, booking, { place, presence });
  if (known.is === 'open') return known.outcome;
  if (known.is === 'gone') return ended(known.booking);
  if (!isEventOf(known.event, booking)) return ended(booking);
  const found = { calendarId: known.calendarId, eventId: known.event.id };
  const answer = await requestDeletion(deps, session, found, deleteOptions(booking, known.event));
  if (answer.ok) return ended(booking);
  if (isMissing(answer.failure)) return notFound(deps, booking, { place, presence });
  return concede(deps, session, booking, answer.failure);
}

/** Deletes what an attempt with unknown outcome may have left. Nothing found counts once the calendar itself answers. */
async function removeUnknown(deps: SyncDeps, session: Session, booking: Booking): Promise<Outcome> {
  const { calendarId } = session.access.connection;
  const eventId = calendarEventId(booking.bookingId, calendarId, booking.generation);
  const found = await ask(deps, session, (token) => getEvent(deps.calendar, token, calendarId, eventId));
  if (!found.ok && isMissing(found.failure)) {
    const outcome = cancelled(booking, booking.generation, deps.clock(), session.uncertain);
    if (!session.isSettling) return outcome;
    const later = confirmedLater(deps, session, booking, { outcome, place: { calendarId, eventId } });
    if (later) return later;
    const calendar = await ask(deps, session, (token) => readCalendar(deps.calendar, token, calendarId));
    if (calendar.ok) return outcome;
    return { ...outcome, booking: toBeRechecked(outcome.booking, booking, deps.clock()) };
  }
  if (!found.ok) return concede(deps, session, booking, found.failure);
  if (!isOurs(found.value, booking)) return cancelled(booking, booking.generation + 1, deps.clock());
  const place = { calendarId, eventId };
  const answer = await requestDeletion(deps, session, place, deleteOptions(booking, found.value));
  if (!answer.ok && isMissing(answer.failure))
    return notFound(deps, booking, { place: { calendarId, eventId }, presence: 'absent' });
  if (!answer.ok) return concede(deps, session, booking, answer.failure);
  return cancelled(booking, booking.generation + 1, deps.clock());
}

type Action = (deps: SyncDeps, session: Session, booking: Booking, presence: Presence) => Promise<Outcome>;

/** The action with whole days in the zone of the calendar; too late where they are over in that zone. */
function inZone(action: Action): Action {
  return async (deps, session, given, presence) => {
    const booking = await placeWithGoogle(deps, session, given);
    if ('failure' in booking) return concede(deps, session, given, booking.failure);
    const isOver = booking !== given && (booking.appointment?.endsAt ?? 0) <= deps.clock();
    if (!isOver || booking.observed) return action(deps, session, booking, presence);
    return session.uncertain || session.isSettling
      ? find(deps, session, booking, presence)
      : missed(booking, deps.clock());
  };
}

const works: Record<Work, Action> = {
  insert: inZone(insert),
  update: inZone(update),
  verify,
  find,
  remove,
  withdraw,
  // What there is to do follows for every action: see `act`.
  'check slot': async (_deps, _session, booking) => ({ booking }),
  'delete left events': async ({ clock }, { access }, booking) =>
    leftWithinReach(booking, access.connection).length > 0 ? lookAgain(booking, clock()) : { booking },
};

/** Beside the work, and never its undoing: a use that is not on record costs one refresh at the next use. */
async function noteUse(deps: SyncDeps, connection: GrantedConnection): Promise<void> {
  await recordUse(deps, connection).catch((error: unknown) => {
    log.warn('Use of a connection was not recorded', { userId: connection.userId, reason: String(error) });
  });
}
