import {
  GetSecretValueCommand,
  ResourceNotFoundException,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { AppError, type ErrorCode, hasCode, isOperatorError } from '../lib/app-error.ts';
import type { Clock } from '../lib/clock.ts';
import { describeError, log, reportOperatorError } from '../lib/observability.ts';

/** A parsed secret, read at first use and cached. */
export type CachedSecret<T> = {
  get(): Promise<T>;
  /**
   * Reads the secret again, for use after the cached value was rejected: a rotated secret then works at once. Undefined
   * where the cached value is younger than 30 seconds.
   */
  reload(): Promise<T | undefined>;
};

/** Seconds for which a secret is cached. */
export const secretTtlSeconds = 300;
/** Minimum seconds between two reads, also after many rejections. */
export const minReloadIntervalSeconds = 30;

/**
 * Runs `use` with a secret, and once more with a newer value where it fails with one of `codes`: a rotated secret works
 * at once, without a read each time.
 */
export async function withSecret<T, R>(
  secret: CachedSecret<T>,
  codes: ErrorCode[],
  use: (value: T) => R | Promise<R>,
): Promise<R> {
  try {
    return await use(await secret.get());
  } catch (error) {
    if (!hasCode(error, ...codes)) throw error;
    const reloaded = await secret.reload();
    if (reloaded === undefined) throw error;
    return use(reloaded);
  }
}

let client: SecretsManagerClient | undefined;

/**
 * The secret `id`, parsed by `parse`; `read` gets its text, from Secrets Manager.
 * Errors: `not_configured` where it has no value yet, unless `empty` is the text that counts then.
 */
export function secret<T>(
  id: string,
  parse: (value: string) => T,
  clock: Clock,
  read: (id: string) => Promise<string | undefined> = fetchSecret,
  empty?: string,
): CachedSecret<T> {
  let cached: { value: T; readAt: number } | undefined;
  let reading: Promise<T> | undefined;

  const load = (): Promise<T> => {
    reading ??= read(id)
      .then((text = empty) => {
        if (text === undefined) throw withoutValue(id);
        cached = { value: parse(text), readAt: clock() };
        return cached.value;
      })
      .finally(() => {
        reading = undefined;
      });
    return reading;
  };

  return {
    async get() {
      if (cached && clock() - cached.readAt < secretTtlSeconds) return cached.value;
      try {
        return await load();
      } catch (error) {
        if (!cached) throw error;
        // While Secrets Manager is unavailable, the old value still works.
        const message = 'Secret not reloaded, cached value used';
        // A malformed value would fail the next cold start.
        if (isOperatorError(error)) reportOperatorError(message, error);
        else log.warn(message, { secret: id, error: describeError(error) });
        return cached.value;
      }
    },
    async reload() {
      if (cached && clock() - cached.readAt < minReloadIntervalSeconds) return undefined;
      return load();
    },
  };
}

async function fetchSecret(id: string): Promise<string | undefined> {
  client ??= new SecretsManagerClient();
  try {
    const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId: id }));
    return SecretString || undefined;
  } catch (error) {
    if (error instanceof ResourceNotFoundException) return undefined;
    throw error;
  }
}

function withoutValue(id: string): AppError {
  return new AppError(
    'not_configured',
    `The secret ${id} has no value yet. docs/setup.md says what to put into it.`,
  );
}
