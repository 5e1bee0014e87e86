import { Stripe } from 'stripe';
import { describe, expect, it } from 'vitest';
import { timestampToleranceSeconds } from '../../functions/payment-confirmed/signature.ts';
import { verifyStripeSignature } from '../../functions/payment-confirmed/stripe/signature.ts';

const now = 1_790_000_000;
const secret = 'whsec_first_0123456789abcdef';
const other = 'whsec_second_0123456789abcdef';
const payload = '{"id":"evt_1","note":"räumlich ✓"}';
const body = Buffer.from(payload);

/** Signed by Stripe's own library. */
function sign(options: { secret?: string; timestamp?: number; payload?: string } = {}): string {
  return Stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp: now, ...options });
}
const verify = (header: string | undefined, secrets = [secret], at = now, bytes = body): number =>
  verifyStripeSignature(bytes, header, secrets, at);
const refused = (code: string) => expect.objectContaining({ code, status: 400 });

describe('verifyStripeSignature', () => {
  it("accepts signatures of Stripe's library and agrees with its verification", () => {
    expect(verify(sign())).toBe(0);
    expect(
      Stripe.webhooks.signature?.verifyHeader(
        payload,
        sign(),
        secret,
        timestampToleranceSeconds,
        undefined,
        now * 1000,
      ),
    ).toBe(true);
  });

  it('returns which secret matched, so that an old Stripe secret can be retired', () => {
    expect(verify(sign({ secret: other }), [secret, other])).toBe(1);
  });

  it('accepts any of several v1 signatures, as sent during a rotation', () => {
    const [, old] = sign({ secret: other }).split(',');
    expect(verify(`${sign()},${old}`, [other])).toBe(0);
    expect(verify(`t=${now},${old},v1=${'0'.repeat(64)}`, [other])).toBe(0);
  });

  it('uses the whole secret as the key, including its prefix', () => {
    expect(() => verify(sign({ secret: secret.replace('whsec_', '') }))).toThrow(
      refused('signature_mismatch'),
    );
  });

  it('ignores signature schemes other than v1', () => {
    expect(() => verify(sign().replace('v1=', 'v0='))).toThrow(refused('signature_malformed'));
    expect(verify(`${sign()},v0=${'a'.repeat(64)}`)).toBe(0);
  });

  it.each([
    ['of another body', () => verify(sign({ payload: '{}' })), 'signature_mismatch'],
    ['of another secret', () => verify(sign({ secret: other })), 'signature_mismatch'],
    ['of another time', () => verify(sign().replace(`t=${now}`, `t=${now - 1}`)), 'signature_mismatch'],
    ['with no secret to compare', () => verify(sign(), []), 'signature_mismatch'],
    ['that is missing', () => verify(undefined), 'signature_missing'],
    ['that is empty', () => verify(''), 'signature_missing'],
    ['without a time', () => verify(sign().replace(/^t=\d+,/, '')), 'signature_malformed'],
    [
      'with a time that is no number',
      () => verify(sign().replace(/^t=\d+/, 't=soon')),
      'signature_malformed',
    ],
    [
      'in upper case hex',
      () => verify(sign().replace(/v1=.*/, (it) => `v1=${it.slice(3).toUpperCase()}`)),
      'signature_malformed',
    ],
    ['that is cut off', () => verify(sign().slice(0, -2)), 'signature_malformed'],
    ['that is noise', () => verify('=,=,t,v1,=v1=,,'), 'signature_malformed'],
  ])('refuses a signature %s', (_, act, code) => {
    expect(act).toThrow(refused(code));
  });

  it('accepts timestamps up to the exact tolerance in the past and the future', () => {
    expect(verify(sign({ timestamp: now - timestampToleranceSeconds }))).toBe(0);
    expect(verify(sign({ timestamp: now + timestampToleranceSeconds }))).toBe(0);
    expect(() => verify(sign({ timestamp: now - timestampToleranceSeconds - 1 }))).toThrow(
      refused('timestamp_out_of_tolerance'),
    );
    expect(() => verify(sign({ timestamp: now + timestampToleranceSeconds + 1 }))).toThrow(
      refused('timestamp_out_of_tolerance'),
    );
  });

  it('checks the signature before the timestamp', () => {
    expect(() => verify(sign({ secret: other, timestamp: 1 }))).toThrow(refused('signature_mismatch'));
  });
});
