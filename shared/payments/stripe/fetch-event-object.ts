import { type CachedSecret, withSecret } from '../../aws/secrets.ts';
import { AppError } from '../../lib/app-error.ts';
import { parseSecretObject } from '../../lib/secret-json.ts';
import { fetchStripeObject, type StripeApi } from './api.ts';
import type { ThinEvent } from './events.ts';

export type ThinEventDeps = {
  /** The secret `webhook-signing`. */
  secrets: CachedSecret<{ readonly stripeApiKey?: string[] }>;
  stripeApi: StripeApi;
};

/** It only fetches the objects of thin events: a restricted key will do. */
export const stripeApiKeyFormat = {
  pattern: /^[rs]k_[\x21-\x7e]{8,}$/,
  is: 'rk_ or sk_ and at least 8 characters without spaces',
};

/** The API key in the secret `webhook-signing`, without its signing secrets. Errors: `not_configured`. */
export function parseStripeApiKey(secret: string): { stripeApiKey: string[] } {
  const { stripeApiKey } = parseSecretObject('webhook-signing', secret);
  const texts = [stripeApiKey].flat().map((text) => (typeof text === 'string' ? text.trim() : ''));
  return { stripeApiKey: texts.filter((text) => stripeApiKeyFormat.pattern.test(text)) };
}

/**
 * The object that a thin event references.
 * Errors: `unsupported_event_format` (400) without a key to fetch it; those of fetchStripeObject.
 */
export function fetchEventObject({ secrets, stripeApi }: ThinEventDeps, event: ThinEvent): Promise<unknown> {
  return withSecret(secrets, ['unsupported_event_format', 'not_configured'], ({ stripeApiKey = [] }) => {
    const [key] = stripeApiKey;
    if (key) return fetchStripeObject(stripeApi, key, event);
    throw new AppError(
      'unsupported_event_format',
      'This is a thin event, which only names its payment. Set the event destination to snapshot payloads, or put an API key that may read payments into the secret webhook-signing, as "stripeApiKey".',
      { status: 400 },
    );
  });
}
