import { Webhook } from 'standardwebhooks';
import { Stripe } from 'stripe';
import { describe, expect, it } from 'vitest';
import { timestampToleranceSeconds } from '../../functions/payment-confirmed/signature.ts';
import {
  standardHeaders,
  verifyStandardSignature,
} from '../../functions/payment-confirmed/standard/signature.ts';
import { verifyStripeSignature } from '../../functions/payment-confirmed/stripe/signature.ts';

// The vector that the specification publishes.
const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const id = 'msg_p5jXN8AQM9LWM0D4loKWxJek';
const now = 1_614_265_330;
const payload = '{"test": 2432232314}';
const published = 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=';

const other = `whsec_${Buffer.from('another secret of 32 bytes......').toString('base64')}`;
const body = Buffer.from(payload);

/** Signed by the official library. */
const sign = (options: { secret?: string; timestamp?: number; payload?: string; id?: string } = {}): string =>
  new Webhook(options.secret ?? secret).sign(
    options.id ?? id,
    new Date((options.timestamp ?? now) * 1000),
    options.payload ?? payload,
  );
const verify = (
  signature: string | undefined,
  options: { secrets?: string[]; at?: number; id?: string | undefined; stamp?: string | undefined } = {},
): number =>
  verifyStandardSignature(
    body,
    {
      id,
      timestamp: String(now),
      signature,
      ...('id' in options ? { id: options.id } : {}),
      ...('stamp' in options ? { timestamp: options.stamp } : {}),
    },
    options.secrets ?? [secret],
    options.at ?? now,
  );
const refused = (code: string) => expect.objectContaining({ code, status: 400 });

describe('standardHeaders', () => {
  const headers = (prefix: string, signature: string | undefined = published) => ({
    [`${prefix}-id`]: id,
    [`${prefix}-timestamp`]: String(now),
    [`${prefix}-signature`]: signature,
  });
  const verifyHeaders = (all: Record<string, string | undefined>) =>
    verifyStandardSignature(body, standardHeaders(all), [secret], now);

  it.each(['webhook', 'svix'])('reads headers that begin with %s-', (prefix) => {
    expect(verifyHeaders(headers(prefix))).toBe(0);
  });

  it('prefers the webhook- headers when svix- headers exist too', () => {
    const wrong = sign({ secret: other });
    expect(verifyHeaders({ ...headers('svix', wrong), ...headers('webhook') })).toBe(0);
    expect(() => verifyHeaders({ ...headers('svix'), ...headers('webhook', wrong) })).toThrow(
      refused('signature_mismatch'),
    );
  });

  it.each(['id', 'timestamp', 'signature'])('never takes %s from the other kind of headers', (name) => {
    const mixed = { ...headers('webhook'), [`webhook-${name}`]: undefined, [`svix-${name}`]: 'x' };
    expect(() => verifyHeaders(mixed)).toThrow(refused('signature_missing'));
  });
});

describe('verifyStandardSignature', () => {
  it('accepts the published vector and signatures of the official library', () => {
    expect(sign()).toBe(published);
    expect(verify(published)).toBe(0);
  });

  it('verifies the bytes of the body, also beyond ASCII', () => {
    const text = '{"note":"räumlich ✓"}';
    const headers = { id, timestamp: String(now), signature: sign({ payload: text }) };
    expect(verifyStandardSignature(Buffer.from(text), headers, [secret], now)).toBe(0);
  });

  it('returns which secret matched, so that an old Standard secret can be retired', () => {
    expect(verify(sign({ secret: other }), { secrets: [secret, other] })).toBe(1);
  });

  it('accepts any of several signatures, as sent during a rotation', () => {
    expect(verify(`${sign({ secret: other })} ${sign()}`)).toBe(0);
  });

  it('skips signature versions other than v1', () => {
    expect(verify(`v1a,${'A'.repeat(86)}== ${published} v2,soon`)).toBe(0);
    expect(() => verify(published.replace('v1,', 'v2,'))).toThrow(refused('signature_malformed'));
  });

  it.each([
    ['of another body', () => verify(sign({ payload: '{}' })), 'signature_mismatch'],
    ['of another secret', () => verify(sign({ secret: other })), 'signature_mismatch'],
    ['of another time', () => verify(sign(), { stamp: String(now - 1) }), 'signature_mismatch'],
    ['of another message', () => verify(sign(), { id: 'msg_other' }), 'signature_mismatch'],
    ['with no secret to compare', () => verify(sign(), { secrets: [] }), 'signature_mismatch'],
    ['that is missing', () => verify(undefined), 'signature_missing'],
    ['that is empty', () => verify(''), 'signature_missing'],
    ['without an id', () => verify(sign(), { id: undefined }), 'signature_missing'],
    ['without a time', () => verify(sign(), { stamp: undefined }), 'signature_missing'],
    ['with a time that is no number', () => verify(sign(), { stamp: 'soon' }), 'signature_malformed'],
    ['with a time in part', () => verify(sign(), { stamp: `${now}.5` }), 'signature_malformed'],
    ['that is cut off', () => verify(sign().slice(0, -2)), 'signature_malformed'],
    ['in hex', () => verify(`v1,${'ab'.repeat(32)}`), 'signature_malformed'],
    ['that is noise', () => verify(' , v1 v1, ,,'), 'signature_malformed'],
  ])('refuses a signature %s', (_, act, code) => {
    expect(act).toThrow(refused(code));
  });

  it('accepts timestamps up to the exact tolerance in the past and the future', () => {
    expect(verify(sign(), { at: now + timestampToleranceSeconds })).toBe(0);
    expect(verify(sign(), { at: now - timestampToleranceSeconds })).toBe(0);
    for (const at of [now + timestampToleranceSeconds + 1, now - timestampToleranceSeconds - 1])
      expect(() => verify(sign(), { at })).toThrow(refused('timestamp_out_of_tolerance'));
  });

  it('checks the signature before the timestamp', () => {
    expect(() => verify(sign({ secret: other }), { at: now + 10_000 })).toThrow(
      refused('signature_mismatch'),
    );
  });
});

describe('a secret in the wrong list', () => {
  // Both schemes write their secrets in the same form and derive the key differently.
  it('a secret in the Standard list does not verify Stripe signatures', () => {
    const header = Stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp: now });
    expect(verifyStripeSignature(body, header, [secret], now)).toBe(0);
    const signature = `v1,${Buffer.from(header.split('v1=')[1] as string, 'hex').toString('base64')}`;
    expect(() => verify(signature)).toThrow(refused('signature_mismatch'));
    expect(() => verify(header)).toThrow(refused('signature_malformed'));
  });

  it('a secret in the Stripe list does not verify Standard signatures', () => {
    const hex = Buffer.from(published.slice(3), 'base64').toString('hex');
    expect(() => verifyStripeSignature(body, `t=${now},v1=${hex}`, [secret], now)).toThrow(
      refused('signature_mismatch'),
    );
    expect(() => verifyStripeSignature(body, published, [secret], now)).toThrow(
      refused('signature_malformed'),
    );
  });
});
