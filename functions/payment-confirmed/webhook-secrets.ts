import * as v from 'valibot';
import { AppError } from '../../shared/app-error.ts';

/** Signing secrets by provider, the newest first. Several at a time let a roll overlap; none turns a provider off. */
export type WebhookSecrets = {
  stripe: string[];
  standard: string[];
  /** With it, thin events of Stripe are completed. It need only read what is paid: a restricted key will do. */
  stripeApiKey?: string | undefined;
};
export type Provider = 'stripe' | 'standard';

const list = (pattern: RegExp) => v.optional(v.array(v.pipe(v.string(), v.regex(pattern))));
const schema = v.object({
  stripe: list(/^whsec_\S{8,}$/),
  // At least 16 bytes.
  standard: list(/^whsec_[A-Za-z0-9+/]{22,}={0,2}$/),
  stripeApiKey: v.optional(v.pipe(v.string(), v.regex(/^[rs]k_\S{8,}$/))),
});

/**
 * Parses the secret `webhook-signing`: `{"stripe":["whsec_…"],"standard":["whsec_…"],"stripeApiKey":"rk_…"}`, of which
 * one list of signing secrets must be there. Errors: `not_configured`.
 */
export function parseWebhookSecrets(secret: string): WebhookSecrets {
  try {
    const { stripe = [], standard = [], stripeApiKey } = v.parse(schema, JSON.parse(secret));
    if (stripe.length + standard.length > 0) return { stripe, standard, stripeApiKey };
  } catch {
    // The cause is left out: its message could quote the secret.
  }
  throw new AppError(
    'not_configured',
    'The secret webhook-signing must read {"stripe":["whsec_…"]}, with "standard" and "stripeApiKey" where they are used. docs/setup.md says what to put into it.',
  );
}

/**
 * The signing secrets of one provider. Errors: `provider_not_configured` (503), which is not for the operator's alarm:
 * anybody can ask for a provider that this service was never meant to serve.
 */
export function secretsOf(secrets: WebhookSecrets, provider: Provider): string[] {
  if (secrets[provider].length > 0) return secrets[provider];
  throw new AppError(
    'provider_not_configured',
    `There is no signing secret for this provider. Put one into the secret webhook-signing, under "${provider}".`,
    { status: 503 },
  );
}
