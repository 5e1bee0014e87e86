import { type CachedSecret, withSecret } from '../../aws/secrets.ts';
import { AppError, hasCode } from '../../lib/app-error.ts';
import { type StripeSettings, stripeSettings, stripeUrl } from '../../lib/config.ts';
import { reportOperatorError } from '../../lib/observability.ts';
import type { ParsedEvent } from '../parse-event.ts';
import { fetchStripeObject, type StripeApi } from './api.ts';
import { type StripeKeys, stripeKeys } from './api-keys.ts';
import { parseStripeEvent, type ThinEvent } from './events.ts';
import type { ExpectedAccounts } from './recipient.ts';

/** What translates events of Stripe, wherever they come from. */
export type StripeDeps = StripeSettings & { stripeKeys: CachedSecret<StripeKeys>; stripeApi: StripeApi };

/** From the environment of a function. */
export function stripeDeps(): StripeDeps {
  return { ...stripeSettings(), stripeKeys: stripeKeys(), stripeApi: { fetch, baseUrl: stripeUrl() } };
}

/**
 * The payment in an event of Stripe. What the event only references is fetched.
 * Errors: those of parseStripeEvent and fetchStripeObject; `unsupported_event_format` (400) without a key to fetch it.
 */
export function translateStripeEvent(
  deps: StripeDeps,
  value: unknown,
  accounts: ExpectedAccounts,
): Promise<ParsedEvent> {
  return parseStripeEvent(value, { ...deps, accounts }, (event) => fetchEventObject(deps, event));
}

/** The payment in an event that was read from Stripe's API, for a connected account where one is given: it need not name it. */
export function translateListedEvent(
  deps: StripeDeps,
  event: object,
  account: string | undefined,
): Promise<ParsedEvent> {
  return account
    ? translateStripeEvent(deps, { ...event, account }, 'connected')
    : translateStripeEvent(deps, event, 'own');
}

/** Without a key, the operator gets an alarm. */
async function fetchEventObject({ stripeKeys, stripeApi }: StripeDeps, event: ThinEvent): Promise<unknown> {
  try {
    return await withSecret(stripeKeys, ['unsupported_event_format', 'not_configured'], (keys) => {
      const key = keys[event.livemode ? 'live' : 'test'];
      if (key) return fetchStripeObject(stripeApi, key, event);
      throw new AppError(
        'unsupported_event_format',
        'This event does not carry its payment. If it is a thin event, set the event destination to snapshot payloads; or put an API key of its mode that may read payments into the secret stripe-api.',
        { status: 400 },
      );
    });
  } catch (error) {
    if (hasCode(error, 'unsupported_event_format')) reportOperatorError('An event needs an API key', error);
    throw error;
  }
}
