import { type CachedSecret, withSecret } from '../../aws/secrets.ts';
import { AppError } from '../../lib/app-error.ts';
import { fetchStripeObject, type StripeApi } from './api.ts';
import type { StripeKeys } from './api-keys.ts';
import type { ThinEvent } from './events.ts';

export type FetchDeps = { stripeKeys: CachedSecret<StripeKeys>; stripeApi: StripeApi };

/**
 * What an event references.
 * Errors: `unsupported_event_format` (400) without a key to fetch it; those of fetchStripeObject.
 */
export function fetchEventObject({ stripeKeys, stripeApi }: FetchDeps, event: ThinEvent): Promise<unknown> {
  return withSecret(stripeKeys, ['unsupported_event_format', 'not_configured'], (keys) => {
    const key = keys[event.livemode ? 'live' : 'test'];
    if (key) return fetchStripeObject(stripeApi, key, event);
    throw new AppError(
      'unsupported_event_format',
      'This event does not carry its payment. If it is a thin event, set the event destination to snapshot payloads; or put an API key of its mode that may read payments into the secret stripe-api.',
      { status: 400 },
    );
  });
}
