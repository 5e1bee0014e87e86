import type { CachedSecret } from '../../shared/aws/secrets.ts';
import type { PaymentQueue } from '../../shared/booking/queue.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import type { ParsedEvent } from '../../shared/payments/parse-event.ts';
import type { StripeDeps } from '../../shared/payments/stripe/translate.ts';

/** A request of a provider: the raw body, and its headers in lower case. */
export type Webhook = { body: Buffer; headers: Record<string, string | undefined> };

/**
 * The texts of the secret `webhook-signing` by entry, the newest first. The entry of a provider's name holds its signing
 * secrets: several at a time let a roll overlap, none turns the provider off.
 */
export type WebhookSecrets = Readonly<Record<string, string[]>>;

/** The form of a text in the secret, for the check and for people. */
export type SecretFormat = { pattern: RegExp; is: string };

export type WebhookDeps = StripeDeps & {
  secrets: CachedSecret<WebhookSecrets>;
  queue: Pick<PaymentQueue, 'prepare' | 'send'>;
  clock: Clock;
};

/** A service that reports payments. Its webhook has the route `webhookRoute(name)`. */
export type PaymentProvider<Name extends string = string> = {
  name: Name;
  /** The form of its signing secrets, which the secret holds under `name`. */
  secretFormat: SecretFormat;
  /**
   * The index of the secret that matches the signature. `now` in epoch seconds.
   * Errors (400): see SignatureErrorCode.
   */
  verify(webhook: Webhook, secrets: string[], now: number): number;
  /** Parses a verified webhook. Errors (400): `invalid_json`, `unsupported_event_format`; others if it asks the provider. */
  parse(webhook: Webhook, deps: WebhookDeps): Promise<ParsedEvent>;
};
