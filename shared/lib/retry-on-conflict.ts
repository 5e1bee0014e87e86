import { AppError } from './app-error.ts';

/** Attempts to write what other writers change at the same moment. */
const maxAttempts = 4;

/**
 * Runs `attempt`, which reads, decides and writes, until its conditional write succeeds; undefined means that it lost
 * the write. Errors: `concurrent_update` (409, retryable) when it lost each time. `subject` names what is written.
 */
export async function retryOnConflict<T>(subject: string, attempt: () => Promise<T | undefined>): Promise<T> {
  for (let attempts = 0; attempts < maxAttempts; attempts++) {
    const result = await attempt();
    if (result !== undefined) return result;
  }
  throw new AppError(
    'concurrent_update',
    `Another request changed the ${subject} at the same moment. Please try again.`,
    {
      status: 409,
      retryable: true,
    },
  );
}
