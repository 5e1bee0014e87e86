import { AppError } from '../../shared/app-error.ts';
import { reportOperatorError } from '../../shared/observability.ts';
import { parseSecretObject, unusableSecret } from '../../shared/secret-json.ts';

/** Signing secrets by provider, the newest first. Several at a time let a roll overlap; none turns a provider off. */
export type WebhookSecrets = {
  stripe: string[];
  standard: string[];
  /** With it, thin events of Stripe are completed. It need only read what is paid: a restricted key will do. */
  stripeApiKey?: string | undefined;
};
export type Provider = 'stripe' | 'standard';

/** What an entry must look like, for the check and for people. */
type Form = { pattern: RegExp; is: string };
const forms = {
  stripe: { pattern: /^whsec_[\x21-\x7e]{8,}$/, is: 'whsec_ and at least 8 characters without spaces' },
  standard: { pattern: /^whsec_[A-Za-z0-9+/]{22,}={0,2}$/, is: 'whsec_ and at least 16 bytes in base64' },
  stripeApiKey: {
    pattern: /^[rs]k_[\x21-\x7e]{8,}$/,
    is: 'rk_ or sk_ and at least 8 characters without spaces',
  },
} satisfies Record<string, Form>;

const name = 'webhook-signing';
const seeSetup = 'docs/setup.md says what to put into it.';

/**
 * Parses the secret `webhook-signing`: `{"stripe":["whsec_…"],"standard":["whsec_…"],"stripeApiKey":"rk_…"}`, with one
 * signing secret at least. An entry that cannot be used turns off no other: it is reported to the operator.
 * Errors: `not_configured`.
 */
export function parseWebhookSecrets(secret: string): WebhookSecrets {
  const value = parseSecretObject(name, secret);
  const problems: string[] = [];
  const stripe = readList(value, 'stripe', problems);
  const standard = readList(value, 'standard', problems);
  const [stripeApiKey] = readList(value, 'stripeApiKey', problems);
  const why = problems.join('; ');
  if (stripe.length + standard.length === 0) {
    const none = why ? `${why}.` : 'It has no signing secret.';
    throw unusableSecret(name, `${none} It must read {"stripe":["whsec_…"]}. ${seeSetup}`);
  }
  if (why) {
    const error = unusableSecret(name, `${why}. The other entries are used. ${seeSetup}`);
    reportOperatorError('An entry of a secret cannot be used', error);
  }
  return { stripe, standard, stripeApiKey };
}

/** The usable texts of an entry: a list, or a text alone. What is wrong with others is added to `problems`. */
function readList(value: Record<string, unknown>, entry: keyof typeof forms, problems: string[]): string[] {
  const { pattern, is } = forms[entry];
  const given = value[entry];
  const isList = Array.isArray(given);
  const items: unknown[] = isList ? given : [given];
  return items.flatMap((item, index) => {
    if (item === undefined || item === null) return [];
    const text = typeof item === 'string' ? item.trim() : undefined;
    if (text === '') return [];
    if (text !== undefined && pattern.test(text)) return [text];
    problems.push(`"${entry}"${isList ? `[${index}]` : ''} must be ${is}`);
    return [];
  });
}

/**
 * The signing secrets of one provider. Errors: `provider_not_configured` (404, so that strangers who ask for a provider
 * that this service does not serve raise no alarm of 5xx; providers repeat it as they repeat a 503).
 */
export function secretsOf(secrets: WebhookSecrets, provider: Provider): string[] {
  if (secrets[provider].length > 0) return secrets[provider];
  throw new AppError(
    'provider_not_configured',
    `There is no signing secret for this provider. Put one into the secret webhook-signing, under "${provider}".`,
    { status: 404 },
  );
}
