import {
  GetSecretValueCommand,
  ResourceNotFoundException,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { AppError, type ErrorCode, hasCode, isOperatorError } from './app-error.ts';
import type { Clock } from './clock.ts';
import { describeError, log, reportOperatorError } from './observability.ts';

/** A parsed secret, read at first use and cached. */
export type Secret<T> = {
  get(): Promise<T>;
  /**
   * Reads the secret again, for use after the cached value was refused: a rotated secret then works at once. Undefined
   * where the cached value is younger than 30 seconds.
   */
  getNewer(): Promise<T | undefined>;
};

/** Seconds for which a secret is cached. */
export const secretTimeToLive = 300;
/** Minimum seconds between two reads, also after many refusals. */
export const secretMinimumAge = 30;

/**
 * Runs `use` with a secret, and once more with a newer value where it fails with one of `codes`: a rotated secret works
 * at once, without a read each time.
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
 * The secret `id`, parsed by `parse`; `read` gets its text, from Secrets Manager.
 * Errors: `not_configured` where it has no value yet.
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
        // While Secrets Manager is unavailable, the old value still works.
        const message = 'Secret not reloaded, cached value used';
        // A malformed value would fail the next cold start.
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
