import { AppError } from '../../shared/lib/app-error.ts';
import { reportOperatorError } from '../../shared/lib/observability.ts';
import { parseSecretObject, unusableSecret } from '../../shared/lib/secret-json.ts';
import type { SecretFormat, WebhookSecrets } from './payment-provider.ts';
import { providers } from './providers.ts';

const name = 'webhook-signing';
const seeSetup = 'docs/setup.md says what to put into it.';

/**
 * Parses the secret `webhook-signing`: `{"stripe":["whsec_…"],"standard":["whsec_…"]}`, with one
 * signing secret at least. An unusable entry turns off no other: it is reported to the operator.
 * Errors: `not_configured`.
 */
export function parseWebhookSecrets(secret: string): WebhookSecrets {
  const value = parseSecretObject(name, secret);
  const problems: string[] = [];
  const secrets: Record<string, string[]> = Object.fromEntries(
    providers.map(({ name: entry, secretFormat }) => [
      entry,
      parseEntry(entry, value[entry], secretFormat, problems),
    ]),
  );
  const why = problems.join('; ');
  if (!providers.some((provider) => secrets[provider.name]?.length)) {
    const none = why ? `${why}.` : 'It has no signing secret.';
    throw unusableSecret(name, `${none} It must read {"stripe":["whsec_…"]}. ${seeSetup}`);
  }
  if (why) {
    const error = unusableSecret(name, `${why}. The other entries are used. ${seeSetup}`);
    reportOperatorError('An entry of a secret cannot be used', error);
  }
  return secrets;
}

/** The usable texts of an entry: a list, or a single text. The reasons against the others are added to `problems`. */
function parseEntry(
  entry: string,
  given: unknown,
  { pattern, is }: SecretFormat,
  problems: string[],
): string[] {
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
 * The signing secrets of one provider. Errors: `provider_not_configured` (404: a request for a provider that is not
 * served must not raise the alarm of 5xx, and providers repeat it as they repeat a 503).
 */
export function signingSecrets(secrets: WebhookSecrets, provider: string): string[] {
  const own = secrets[provider] ?? [];
  if (own.length > 0) return own;
  throw new AppError(
    'provider_not_configured',
    `There is no signing secret for this provider. Put one into the secret webhook-signing, under "${provider}".`,
    { status: 404 },
  );
}
