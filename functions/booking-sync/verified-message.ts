import { type CachedSecret, withSecret } from '../../shared/aws/secrets.ts';
import type { Keys } from '../../shared/crypto/keys.ts';
import { splitMac, verifyMac } from '../../shared/crypto/payment-mac.ts';
import { hasCode } from '../../shared/lib/app-error.ts';
import { reportOperatorError } from '../../shared/lib/observability.ts';
import type { ReadMessage } from './process-batch.ts';
import { parseBookingMessage } from './read-message.ts';

export type VerifyDeps = {
  messageKeys: CachedSecret<Keys<'payment-messages'>>;
  tokenKeys: CachedSecret<Keys<'token-encryption'>>;
};

/**
 * Reads messages, and believes a payment only with the MAC of payment-confirmed: several functions may send. Other
 * messages cause no more than a read of the table, so they need no proof.
 * Errors: `payment_message_invalid`, and those of the secret.
 */
export function verifiedMessages({ messageKeys, tokenKeys }: VerifyDeps): ReadMessage {
  return async (body) => {
    const { message: text, mac } = splitMac(body);
    const message = parseBookingMessage(text);
    if (message.type !== 'payment') return message;
    const verifying = withSecret(messageKeys, ['payment_message_invalid'], (keys) =>
      verifyMac(keys, text, mac),
    );
    // Sync needs the token keys next: read together, the two secrets cost a new environment one wait.
    const [verified] = await Promise.allSettled([verifying, tokenKeys.get()]);
    if (verified.status === 'rejected') throw reported(verified.reason);
    return message;
  };
}

function reported(error: unknown): unknown {
  if (hasCode(error, 'payment_message_invalid', 'not_configured')) {
    reportOperatorError('Payment message not verified', error);
  }
  return error;
}
