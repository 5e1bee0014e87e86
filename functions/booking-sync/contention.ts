import { AppError } from '../../shared/lib/app-error.ts';

/** Rounds of reading, deciding and recording before giving up on a booking that others keep changing. */
export const maxRounds = 8;

/** The last write of a run was lost too; the message stays in the queue. */
export function contended(): AppError {
  return new AppError('concurrent_update', `A booking was changed by others ${maxRounds} times in a row.`, {
    retryable: true,
  });
}
