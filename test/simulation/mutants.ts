import { registerHooks } from 'node:module';

/** Deliberate bugs. The simulation must catch each of them. */
type Mutant = Edit & { name: string; also?: Edit };
type Edit = { file: string; from: string; to: string };

const calendarEvent = 'functions/booking-sync/calendar-event.ts';
const applied = 'functions/booking-sync/apply-payment.ts';
const pointer = 'functions/booking-sync/payment-pointer.ts';
const tokens = 'shared/connection/access-token.ts';

export const mutants: Mutant[] = [
  {
    name: 'bookings are written over any version',
    file: 'shared/aws/dynamo.ts',
    from: "ConditionExpression: '#version = :version'",
    to: "ConditionExpression: '#version <= :version OR #version >= :version'",
  },
  {
    name: 'a write whose condition failed counts as saved',
    file: 'shared/aws/dynamo.ts',
    from: 'if (error instanceof ConditionalCheckFailedException) return false;',
    to: 'if (error instanceof ConditionalCheckFailedException) return true;',
  },
  {
    name: 'a taken event id is replaced without a read',
    file: 'functions/booking-sync/ensure-event.ts',
    from: '  return readAndRepair(deps, session, booking, place);\n}\n\n/** Reads the event at',
    to: '  return nextEventNumber(booking, deps.clock());\n}\n\n/** Reads the event at',
  },
  {
    name: 'any event under the id counts as right',
    file: 'functions/booking-sync/ensure-event.ts',
    from: '  if (isRight(event, booking, session.wanted)) {',
    to: '  if (event) {',
  },
  {
    name: 'a payment for several bookings is handed on without what came before it',
    file: 'functions/booking-sync/split-payment.ts',
    from: 'const facts = mergeFacts(pointer?.facts, message.facts);',
    to: 'const { facts } = message;',
  },
  {
    name: 'a booking of a payment for several does not know the refunds that came before it existed',
    file: 'functions/booking-sync/load-snapshot.ts',
    from: 'omitUndefined({ paymentId, facts, version })',
    to: 'omitUndefined({ paymentId, facts: facts && undefined, version })',
  },
  {
    name: 'an event that a crashed run has left for a rejected payment is not looked for',
    file: pointer,
    from: 'const mayExist = mayBeStale || (!stored && rejected.appointment !== undefined);',
    to: 'const mayExist = mayBeStale;',
  },
  {
    name: 'a payment for several bookings reaches only the first',
    file: 'functions/booking-sync/split-payment.ts',
    from: '  return bookingIds.map((bookingId) => ({ bookingId, ...named }));',
    to: '  return bookingIds.slice(0, 1).map((bookingId) => ({ bookingId, ...named }));',
  },
  {
    name: 'the bookings of a payment are not recorded',
    file: 'functions/booking-sync/split-payment.ts',
    from: 'const isNews = facts.confirmedAt !== undefined &&',
    to: 'const isNews = facts.confirmedAt === undefined &&',
  },
  {
    name: 'a payment for several bookings counts for bookings of other users',
    file: 'functions/booking-sync/split-payment.ts',
    from: '...omitUndefined({ userId }), problems };',
    to: 'problems };',
  },
  {
    name: 'a payment to any connected account counts',
    file: 'functions/booking-sync/load-snapshot.ts',
    from: 'return accounts?.includes(account) === true;',
    to: 'return accounts !== undefined || account !== undefined;',
  },
  {
    name: 'a payment whose account was bound later stays where it was recorded',
    file: 'functions/booking-sync/load-snapshot.ts',
    from: '  if (paid !== undefined && paid !== bookingId && !pointer?.unbound)\n',
    to: '  if (paid !== undefined && paid !== bookingId)\n',
  },
  {
    name: 'the record of a payment whose account was bound later is not closed',
    file: 'functions/booking-sync/sync-booking.ts',
    from: '  if (pointer?.unbound && pointer.bookingId !== undefined) recorded.add(pointer.bookingId);\n',
    to: '',
  },
  {
    name: 'the record of a payment that a crashed run has left is not closed',
    file: pointer,
    from: '  if (account !== undefined && mayBeStale) others.add(paymentId);\n',
    to: '',
  },
  {
    name: 'refunds of a payment are lost when its account is bound later',
    file: pointer,
    from: '  const facts = unbound && known;\n',
    to: '  const facts = undefined;\n',
  },
  {
    name: 'a message whose run failed is acknowledged',
    file: 'functions/booking-sync/process-batch.ts',
    from: 'return group.slice(index).map((record) => record.messageId);',
    to: 'return [];',
  },
  {
    name: 'the webhook answers before the queue has the message',
    file: 'shared/payments/accept-payment.ts',
    from: '  await queue.send(payment);',
    to: '  void queue.send(payment).catch(() => {});',
  },
  {
    name: 'a lost write after an action causes no doubt',
    file: 'functions/booking-sync/sync-booking.ts',
    from: '  if (isAction) run.mayBeStale = true;',
    to: '',
  },
  {
    name: 'a redelivered message trusts the record',
    file: 'functions/booking-sync/sync-booking.ts',
    from: '  if (run.isSuspected) return;\n',
    to: '  return;\n',
  },
  {
    name: 'a connection is marked broken at the first failure of any kind',
    file: tokens,
    from: "if (hasCode(error, 'google_grant_invalid'))\n      return handleInvalidGrant(deps, connection, error.details.reason);",
    to: "return handleInvalidGrant(deps, connection, 'invalid_grant');",
  },
  {
    name: 'a connection is marked broken without a second read, over any version',
    file: tokens,
    from: 'if (latest.tokenVersion !== connection.tokenVersion) return getAccess(deps, latest);\n  await recordReauthorizationRequired',
    to: 'await recordReauthorizationRequired',
    also: {
      file: 'shared/connection/store.ts',
      from: "      return changed(userId, {\n        set: { status: 'reauthorization_required', reason, tokenVersion: version + 1, updatedAt: now },\n        remove: ['refreshAt', 'refreshShard', leaseAttribute],\n        condition: versionUnchanged,",
      to: "      return changed(userId, {\n        set: { status: 'reauthorization_required', reason, tokenVersion: version + 1, updatedAt: now },\n        remove: ['refreshAt', 'refreshShard', leaseAttribute],\n        condition: '(tokenVersion <= :version OR tokenVersion >= :version)',",
    },
  },
  {
    name: 'a new refresh token is dropped',
    file: tokens,
    from: 'granted.refreshToken ?? usedRefreshToken',
    to: 'usedRefreshToken',
  },
  {
    name: 'leases exclude no other worker',
    file: 'shared/connection/store.ts',
    from: '(attribute_not_exists(leaseUntil) OR',
    to: '(attribute_not_exists(nothing) OR',
  },
  {
    name: 'refreshed tokens are saved over any version',
    file: 'shared/connection/store.ts',
    from: "const versionUnchanged = 'tokenVersion = :version';",
    to: "const versionUnchanged = '(tokenVersion <= :version OR tokenVersion >= :version)';",
  },
  {
    name: 'a status is published after it is stored',
    file: 'functions/booking-sync/sync-booking.ts',
    from: 'const saved = await publish(deps, concluded.booking, concluded.events, stored).then(',
    to: 'const saved = await Promise.resolve().then(',
    also: {
      file: 'functions/booking-sync/sync-booking.ts',
      from: "    if (isPublished) run.republish = 'no';",
      to: '    await publish(deps, concluded.booking, concluded.events, stored);',
    },
  },
  {
    name: 'a refund that comes first is ignored',
    file: applied,
    from: 'mergeFacts(before, pointer?.facts)',
    to: 'mergeFacts(before, undefined)',
  },
  {
    name: 'a payment has no pointer to its booking',
    file: pointer,
    from: '  if (known?.confirmedAt === undefined) return true;\n',
    to: '  return true;\n',
  },
  {
    name: 'a failed run is not retried',
    file: 'functions/booking-sync/retries.ts',
    from: 'nextRun: { why, at: dueAt(booking, now, wait), count, ...(refused ?? { since }) },',
    to: 'nextRun: undefined as never,',
  },
  {
    name: 'a booking in doubt is cancelled without a read',
    file: 'functions/booking-sync/calendar-actions.ts',
    from: '  if (!event) return removeUnknown(deps, session, booking);',
    to: '  if (!event) return { booking: eventAbsent(booking, deps.clock()) };',
  },
  {
    name: 'orphans in a calendar chosen before stay',
    file: 'functions/booking-sync/calendar-actions.ts',
    from: 'mayHaveOrphans ? await deleteOrphans(deps, session, booking) : { booking };',
    to: '{ booking } as Cleaned;',
  },
  {
    name: 'an event is known by its revision alone',
    file: 'shared/booking/event-marks.ts',
    from: 'const name = digest(16, content);',
    to: 'const name = digest(0, content);',
  },
  {
    name: 'a booking that is scheduled after a wait is not published',
    file: 'shared/booking/status.ts',
    from: '...(published ? { published }',
    to: "...(published && published.type !== 'booking.waiting' ? { published }",
  },
  {
    name: 'a booking in doubt is missed without a read',
    file: 'functions/booking-sync/decide.ts',
    from: 'return active && mayExist\n',
    to: 'return active && mayExist && false\n',
  },
  {
    name: 'a booking that Google rejects has no event',
    file: 'functions/booking-sync/decide.ts',
    from: 'if (isKnownAbsent || wasNeverConnected',
    to: "if (booking.givenUp?.reason === 'failed' || isKnownAbsent || wasNeverConnected",
  },
  {
    name: 'tokens stay encrypted with the old key',
    file: 'functions/token-refresh/reencrypt-tokens.ts',
    from: 'keys.ids.filter((id) => id !== current)',
    to: 'keys.ids.filter(() => false)',
  },
  {
    name: 'a token gets into the log',
    file: tokens,
    from: "    metric('TokenRefreshed', 1);",
    to: "    metric('TokenRefreshed', 1);\n    log.info('Token refreshed', { token: granted.accessToken });",
  },
  {
    name: 'a disconnect is not published',
    file: 'functions/connections/manage-connection.ts',
    from: '    await publishDisconnected(deps, ended);\n',
    to: '    void publishDisconnected;\n',
  },
  {
    name: 'a removal does not wait for the connection',
    file: 'functions/booking-sync/decide.ts',
    from: 'wasNeverConnected || isHopeless(booking, active, now))',
    to: 'wasNeverConnected || active === undefined)',
  },
  {
    name: 'a hold is checked for ever',
    file: 'functions/booking-sync/outcomes.ts',
    from: 'if (!event || event.tentative) return booking;',
    to: 'if (!event) return booking;',
    also: {
      file: 'functions/booking-sync/calendar-actions.ts',
      from: '    return { booking: withoutCheck(booking) };\n  const now',
      to: '    return { booking };\n  const now',
    },
  },
  {
    name: 'a Meet link is checked for ever',
    file: 'functions/booking-sync/outcomes.ts',
    from: "if (event.meet?.state === 'pending' && forMeet < endsAt)",
    to: "if (event.meet?.state === 'pending')",
  },
  {
    name: 'a booking waits beyond its end',
    file: 'functions/booking-sync/decide.ts',
    from: 'isKnown ? isHopeless(booking, active, now) :',
    to: 'isKnown ? false :',
  },
  {
    name: 'a disconnect drops the former calendars',
    file: 'functions/connections/manage-connection.ts',
    from: '    ...withoutAddresses(userId, formerCalendarsOf(connection, now)),\n    refreshAt',
    to: '    refreshAt',
  },
  {
    name: 'guests of the owner are removed',
    file: 'functions/booking-sync/calendar-event.ts',
    from: 'if (!guest) return before[address] === undefined ? [attendee] : [];',
    to: 'if (!guest) return [];',
  },
  {
    name: 'answers of guests are reset',
    file: 'functions/booking-sync/calendar-event.ts',
    from: 'if (before[address] === now[address]) return [attendee];',
    to: 'if (before[address] === now[address]) return [guest];',
  },
  {
    name: 'a write changes every field',
    file: calendarEvent,
    from: 'if (before === undefined || next !== old) Object.assign',
    to: 'if (before === undefined || true) Object.assign',
  },
  {
    name: 'a hold invites its guests',
    file: calendarEvent,
    from: "return presence === 'confirmed' ? (details?.attendees ?? []) : [];",
    to: 'return details?.attendees ?? [];',
  },
  {
    name: 'an unknown 403 is final',
    file: 'shared/google/calendar-failures.ts',
    from: "reasons.some((reason) => dataReason.test(reason)) ? 'refused' : 'account_refused';",
    to: "reasons.some((reason) => dataReason.test(reason)) ? 'refused' : 'refused';",
  },
  {
    name: 'a rejected optional part prevents the event',
    file: 'functions/booking-sync/written-event.ts',
    from: "if (answer.ok || answer.failure.kind !== 'refused' || omitted",
    to: 'if (answer.ok || answer.failure || omitted',
  },
  {
    name: 'repeating the PUT retries nothing',
    file: 'functions/bookings/change-booking.ts',
    from: 'const retry = withRetry(changed, now);',
    to: 'const retry = undefined as Booking | undefined; void withRetry;',
  },
  {
    name: 'a whole day is given up when it begins',
    file: 'shared/booking/day-span.ts',
    from: 'endsAt - startsAt > longAfterSeconds ? endsAt : startsAt',
    to: 'endsAt - startsAt > longAfterSeconds ? startsAt : startsAt',
  },
  {
    name: 'one 404 is believed',
    file: 'functions/booking-sync/doubt.ts',
    from: 'return notFound?.eventId === eventId && now - notFound.since >= readsApartSeconds;',
    to: 'return true;',
  },
  {
    name: 'an event that was moved is not followed',
    file: 'functions/booking-sync/read-event.ts',
    from: "if (found.ok && found.value.status !== 'cancelled') return { calendarId, event: found.value };",
    to: '',
  },
  {
    name: 'the in-doubt window lasts a minute',
    file: 'functions/booking-sync/doubt.ts',
    from: 'export const inDoubtSeconds = 120;',
    to: 'export const inDoubtSeconds = 60;',
  },
  {
    name: 'a write without an answer causes no doubt',
    file: 'functions/booking-sync/session.ts',
    from: 'return hasOpenWrite ? withDoubt(booking, now + inDoubtSeconds) : booking;',
    to: 'return hasOpenWrite ? booking : booking;',
  },
  {
    name: 'a read within the window ends the doubt',
    file: 'functions/booking-sync/doubt.ts',
    from: "  if (until > now) return { calendar: { kind: 'in_doubt', until }, nextRun: recheckAt(until) };\n",
    to: '',
  },
  {
    name: 'an event found within the window is not re-checked',
    file: 'functions/booking-sync/outcomes.ts',
    from: 'if (!mayBeUndone && !hasJustGivenUp(booking, now))',
    to: 'if (!hasJustGivenUp(booking, now))',
  },
  {
    name: 'a check within the window ends the doubt',
    file: 'functions/booking-sync/outcomes.ts',
    from: 'if (!isWindowOpen(booking, now)) return withNextCheck(seen, count, now);',
    to: 'if (!isWindowOpen(booking, now) || true) return withNextCheck(seen, count, now);',
  },
  {
    name: 'a booking given up in doubt is not re-checked',
    file: 'functions/booking-sync/outcomes.ts',
    from: '...(after ?? { ...settled, ...recheck }),\n    givenUp',
    to: '...(after ?? settled),\n    givenUp',
  },
  {
    name: 'a redelivered message only marks the doubt',
    file: 'functions/booking-sync/doubt.ts',
    from: 'return isAwaitingRead ? doubted : requestRun(doubted, now, { mayCreate: false });',
    to: 'return isAwaitingRead ? doubted : doubted;',
  },
  {
    name: 'a redriven message trusts the record',
    file: 'functions/booking-sync/sync-booking.ts',
    from: 'return sentAt !== undefined && now - sentAt > firstDeliverySeconds;',
    to: 'return sentAt !== undefined && now - sentAt > firstDeliverySeconds && false;',
  },
  {
    name: 'a deletion by the owner is undone',
    file: 'functions/booking-sync/decide.ts',
    from: "return calendar.event && calendar.notFound ? 'check' : 'ensure';",
    to: "return 'ensure';",
  },
  {
    name: 'a status published for a lost write is not corrected',
    file: 'functions/booking-sync/sync-booking.ts',
    from: "  if (isPublished) run.republish = 'new';\n",
    to: '',
  },
  {
    name: 'an event that a lost round has read is given up after an older miss',
    file: 'functions/booking-sync/read-event.ts',
    from: 'session.seenEvents.has(place.eventId) ? withoutFirstRead(booking) : booking;',
    to: 'booking;',
  },
  {
    name: 'a repetition that could not be published is on record',
    file: 'functions/booking-sync/sync-booking.ts',
    from: 'if (!concluded.isNews) return conclude(stored, left, { wanted, now: deps.clock() }).booking;',
    to: 'if (!concluded.isNews) return concluded.booking;',
  },
  {
    name: 'a redelivered message does not publish again',
    file: 'functions/booking-sync/sync-booking.ts',
    from: "  if (run.republish === 'no') run.republish = 'same';\n",
    to: '',
  },
  {
    name: 'an expired snapshot is recorded',
    file: 'functions/booking-sync/sync-booking.ts',
    from: 'if (!outcome || deps.clock() > validUntil) {',
    to: 'if (!outcome) {',
  },
  {
    name: 'a repair trusts an old snapshot',
    file: 'functions/booking-sync/ensure-event.ts',
    from: '  if ((current?.version ?? 0) !== booking.version) throw snapshotExpired();\n',
    to: '',
  },
  {
    name: 'a doubt near the deadline is not re-checked',
    file: 'functions/booking-sync/outcomes.ts',
    from: "if (why === 'check' || appointment.endsAt <= now)",
    to: 'if (now > 0)',
  },
  {
    name: 'a round that took long does not suspect another run',
    file: 'functions/booking-sync/sync-booking.ts',
    from: 'return isRecorded && (isSuspected ||',
    to: 'return isRecorded && (true || isSuspected ||',
  },
  {
    name: "a deletion of a crashed run counts as the owner's",
    file: 'functions/booking-sync/doubt.ts',
    from: "  if (calendar.kind !== 'deleted_by_owner') return withoutFirstRead(booking);\n  return { ...booking, calendar: { kind: 'in_doubt', event: calendar.event, until: 0 } };",
    to: '  return calendar ? booking : booking;',
  },
  {
    name: 'a write before an error causes no doubt',
    file: 'functions/booking-sync/calendar-actions.ts',
    from: '(session.hasOpenWrite || session.hasWritten)',
    to: 'session.hasOpenWrite',
  },
  {
    name: 'a refused account counts as a calendar without the event',
    file: 'functions/booking-sync/read-event.ts',
    from: 'return saysNothing(found.failure) ? found.failure : undefined;',
    to: "return saysNothing(found.failure) && found.failure.kind !== 'account_refused' ? found.failure : undefined;",
  },
  {
    name: 'calendars that Google refuses to list count as searched',
    file: 'functions/booking-sync/read-event.ts',
    from: 'isRefusalOfAll(listed.failure) ? listed.failure',
    to: 'mayPass(listed.failure) ? listed.failure',
  },
  {
    name: 'a conflict is forgotten when its event is read again',
    file: 'functions/booking-sync/outcomes.ts',
    from: 'known?.tentative || known?.revision === booking.revision;',
    to: 'known?.tentative;',
  },
  {
    name: 'a detached payment publishes what it read long ago',
    file: 'functions/booking-sync/payment-pointer.ts',
    from: '    if (now > readAt + snapshotSeconds) continue;\n',
    to: '',
    also: {
      file: 'functions/booking-sync/payment-pointer.ts',
      from: "    republish = 'new';\n",
      to: '',
    },
  },
  {
    name: 'an event is created before the payment to a connected account is on record',
    file: 'functions/booking-sync/decide.ts',
    from: 'return isNew || isUnrecorded ?',
    to: 'return isUnrecorded ?',
  },
  {
    name: 'a suspected run creates an event before its doubt is on record',
    file: 'functions/booking-sync/decide.ts',
    from: 'return isNew || isUnrecorded ?',
    to: 'return isNew ?',
  },
  {
    name: 'a suspected run publishes before its request is on record',
    file: 'functions/booking-sync/sync-booking.ts',
    from: 'return isNews ? { booking: undecided(',
    to: 'return isNews && false ? { booking: undecided(',
  },
];

/** Changes the code as it is loaded, in this thread. Throws where the code is not as the mutant expects it. */
export function useMutant(name: string): void {
  const mutant = mutants.find((one) => one.name === name);
  if (!mutant) throw new Error(`There is no mutant "${name}".`);
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      const edits = [mutant, ...(mutant.also ? [mutant.also] : [])].filter(({ file }) =>
        url.endsWith(`/${file}`),
      );
      if (edits.length === 0) return loaded;
      let source = String(loaded.source);
      for (const { file, from, to } of edits) {
        if (source.split(from).length !== 2)
          throw new Error(`Mutant "${name}": its text is not once in ${file}.`);
        source = source.replace(from, () => to);
      }
      return { ...loaded, source };
    },
  });
}
