import {
  GetSecretValueCommand,
  ResourceNotFoundException,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { AppError, type ErrorCode, hasCode, isOperatorError } from './app-error.ts';
import type { Clock } from './clock.ts';
import { describeError, log, reportOperatorError } from './observability.ts';

/** A parsed secret, read when first needed and kept for a while. */
export type Secret<T> = {
  get(): Promise<T>;
  /**
   * A value read after the kept one, for when the kept one was just refused: a rotated secret is then
   * picked up at once. Undefined where the kept value is younger than 30 seconds.
   */
  getNewer(): Promise<T | undefined>;
};

/** Seconds for which a secret is used without asking again. */
export const secretTimeToLive = 300;
/** Least seconds between two reads, however many refusals there are. */
export const secretMinimumAge = 30;

/**
 * Uses a secret, and once more with a newer value where the kept one was refused with one of `codes`: a rotated
 * secret takes effect at once, without asking Secrets Manager each time.
 */
export async function useSecret<T, R>(
  secret: Secret<T>,
  codes: ErrorCode[],
  use: (value: T) => R | Promise<R>,
): Promise<R> {
  try {
    return await use(await secret.get());
  } catch (error) {
    if (!hasCode(error, ...codes)) throw error;
    const newer = await secret.getNewer();
    if (newer === undefined) throw error;
    return use(newer);
  }
}

let client: SecretsManagerClient | undefined;

/**
 * The secret `id`, parsed by `parse`. `read` is where its text comes from: Secrets Manager.
 * Errors: `not_configured` where nobody has put a value into it yet.
 */
export function secret<T>(
  id: string,
  parse: (value: string) => T,
  clock: Clock,
  read: (id: string) => Promise<string> = fetchSecret,
): Secret<T> {
  let kept: { value: T; readAt: number } | undefined;
  let reading: Promise<T> | undefined;

  const readAgain = (): Promise<T> => {
    reading ??= read(id)
      .then((text) => {
        kept = { value: parse(text), readAt: clock() };
        return kept.value;
      })
      .finally(() => {
        reading = undefined;
      });
    return reading;
  };

  return {
    async get() {
      if (kept && clock() - kept.readAt < secretTimeToLive) return kept.value;
      try {
        return await readAgain();
      } catch (error) {
        if (!kept) throw error;
        // An old value that worked is better than none while Secrets Manager is away.
        const message = 'Secret could not be read again; the kept value is used';
        // A malformed value would stop the next cold start.
        if (isOperatorError(error)) reportOperatorError(message, error);
        else log.warn(message, { secret: id, error: describeError(error) });
        return kept.value;
      }
    },
    async getNewer() {
      if (kept && clock() - kept.readAt < secretMinimumAge) return undefined;
      return readAgain();
    },
  };
}

async function fetchSecret(id: string): Promise<string> {
  client ??= new SecretsManagerClient();
  try {
    const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId: id }));
    if (SecretString) return SecretString;
  } catch (error) {
    if (!(error instanceof ResourceNotFoundException)) throw error;
  }
  throw new AppError(
    'not_configured',
    `The secret ${id} has no value yet. docs/setup.md says what to put into it.`,
  );
}
