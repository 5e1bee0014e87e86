/** Whether a write of the service leaves alone what the booking did not change. */
import type { StoredEvent } from '../../infra/local/google/state.ts';
import { colleague, ownNote } from './owner-actions.ts';

type Resource = StoredEvent['resource'];

/** What a patch of the service changed that no booking ever asks for. */
export function changesBesideBooking(before: Resource, after: Resource): string[] {
  const found: string[] = [];
  const id = before.extendedProperties?.private?.leadscalendarBooking;
  const guestsAfter = new Map(
    (after.attendees ?? []).map(({ email, responseStatus }) => [email, responseStatus]),
  );
  for (const { email, responseStatus } of before.attendees ?? []) {
    if (!guestsAfter.has(email)) {
      if (email === colleague) found.push(`the guest whom its owner added to ${id} is gone`);
    } else if (guestsAfter.get(email) !== responseStatus)
      found.push(`a guest of ${id} answered ${responseStatus}, which is ${guestsAfter.get(email)} now`);
  }
  if (before.description === ownNote && after.description !== ownNote)
    found.push(`the description that its owner gave ${id} is gone`);
  return found;
}
