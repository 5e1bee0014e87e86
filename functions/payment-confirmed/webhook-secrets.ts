import * as z from 'zod/mini';
import { AppError } from '../../shared/app-error.ts';

/** Signing secrets by provider, the newest first. Several at a time let a roll overlap. */
export type WebhookSecrets = { stripe: string[] };

const schema = z.object({
  stripe: z.array(z.string().check(z.regex(/^whsec_\S{8,}$/))).check(z.minLength(1)),
});

/** Parses the secret `webhook-signing`: `{"stripe":["whsec_…"]}`. Errors: `not_configured`. */
export function parseWebhookSecrets(secret: string): WebhookSecrets {
  try {
    return schema.parse(JSON.parse(secret));
  } catch {
    // The cause is left out: its message could quote the secret.
    throw new AppError('not_configured', 'The secret webhook-signing must read {"stripe":["whsec_…"]}.');
  }
}
