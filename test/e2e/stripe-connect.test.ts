/** Connected accounts on the template with the option: the API that binds them, their webhook, the operator's commands. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectUser } from '../../infra/cli/demo-user.ts';
import { checkoutCompleted, deliver, demoBooking, stripeSigningSecret } from '../../infra/cli/payment.ts';
import { type LocalStack, startLocalStack } from '../../infra/local/stack.ts';
import { writeStackAddress } from '../../infra/local/state-files.ts';
import type { StripeEvent } from '../../infra/local/stripe/event-log.ts';
import { synthesize } from '../../infra/synthesize.ts';
import { webhookRoute } from '../../shared/lib/names.ts';
import { opsOf } from '../integration/ops-stack.ts';
import { temporaryDirectory } from '../local-stack/local-assembly.ts';
import { apiTokenFor } from './browser.ts';

const account = 'ada@example.com';
const now = Date.now();
const state = temporaryDirectory();
const ops = opsOf(state);

let stack: LocalStack;
beforeAll(async () => {
  const assembly = temporaryDirectory();
  synthesize(assembly, { stripeConnect: true });
  stack = await startLocalStack({
    google: { kind: 'simulator' },
    schedules: false,
    assembly,
    stateDir: state,
  });
  writeStackAddress(state, stack);
  await connectUser(stack, { userId: 'user-1', account, now });
});
afterAll(() => stack?.close());

type Answer = { status: number; body: Record<string, unknown> };

async function api(userId: string, method: string, path: string, body?: object): Promise<Answer> {
  const response = await fetch(`${stack.url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${await apiTokenFor(stack, userId)}`,
      'content-type': 'application/json',
    },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const text = await response.text();
  return { status: response.status, body: text ? JSON.parse(text) : {} };
}
const bind = (userId: string, accountId: string) => api(userId, 'PUT', `/payment-accounts/${accountId}`);

type Provider = 'stripe' | 'stripe-connect';
async function pay(
  bookingId: string,
  { to, at = 'stripe-connect', signedAs = at }: { to?: string; at?: Provider; signedAs?: Provider },
): Promise<Answer> {
  const event = checkoutCompleted(demoBooking('user-1', bookingId, now), now, bookingId);
  const signing = stack.secrets.get(stack.secretNames.webhookSigning) as string;
  const signingSecret = stripeSigningSecret(signing, signedAs);
  const webhookUrl = `${stack.url}${webhookRoute(at)}`;
  const sent = { ...event, ...(to ? { account: to } : {}) };
  const { status, body } = await deliver(sent, { webhookUrl, signingSecret }, now);
  return { status, body: JSON.parse(body) };
}
const statusOf = async (id: string) => {
  const { code, text } = await ops('booking', id, '--json');
  return code === 0 ? JSON.parse(text).booking.status : 'none';
};
const becomes = (id: string, status: string) =>
  expect.poll(() => statusOf(id), { timeout: 20_000, interval: 500 }).toBe(status);

describe('/payment-accounts', () => {
  it('binds an account once, shows and lists it, and unbinds it', async () => {
    const first = await bind('user-9', 'acct_9');
    expect([first.status, first.body]).toEqual([201, { accountId: 'acct_9', boundAt: expect.any(String) }]);
    expect(await bind('user-9', 'acct_9')).toEqual({ status: 200, body: first.body });
    expect(await api('user-9', 'GET', '/payment-accounts/acct_9')).toEqual({ status: 200, body: first.body });
    await bind('user-9', 'acct_8');
    const { body } = await api('user-9', 'GET', '/payment-accounts');
    expect(body).toMatchObject({ accounts: [{ accountId: 'acct_9' }, { accountId: 'acct_8' }] });
    for (let times = 0; times < 2; times++)
      expect(await api('user-9', 'DELETE', '/payment-accounts/acct_9')).toEqual({ status: 204, body: {} });
    expect(await api('user-9', 'GET', '/payment-accounts/acct_9')).toMatchObject({
      status: 404,
      body: { code: 'payment_account_not_found' },
    });
  });

  it('shows and changes those of the token only', async () => {
    await bind('user-7', 'acct_7');
    expect(await api('user-6', 'GET', '/payment-accounts')).toEqual({ status: 200, body: { accounts: [] } });
    expect(await api('user-6', 'GET', '/payment-accounts/acct_7')).toMatchObject({ status: 404 });
    expect((await api('user-6', 'DELETE', '/payment-accounts/acct_7')).status).toBe(204);
    expect((await api('user-7', 'GET', '/payment-accounts/acct_7')).status).toBe(200);
    const open = await fetch(`${stack.url}/payment-accounts/acct_7`, { method: 'PUT' });
    expect([open.status, await open.json()]).toMatchObject([401, { code: 'token_missing' }]);
  });

  it.each(['acct_', 'acct_1%2F2', 'acct_%C3%A4', 'cus_1', 'acct_%20', '__proto__', `acct_${'x'.repeat(60)}`])(
    'refuses %s as an account',
    async (accountId) => {
      expect(await bind('user-1', accountId)).toMatchObject({
        status: 400,
        body: { code: 'invalid_request', problems: [{ field: 'accountId' }] },
      });
    },
  );
});

describe('the webhook of connected accounts', () => {
  it('counts a payment once its account is bound, and records it before', async () => {
    expect(await pay('c1', { to: 'acct_1' })).toMatchObject({ status: 200, body: { booking_id: 'c1' } });
    await becomes('acct_1:pi_c1', 'failed');
    expect(await statusOf('c1')).toBe('none');
    const types = stack.events().map(({ detailType }) => detailType);
    expect(types).toEqual(expect.arrayContaining(['booking.failed', 'payment.orphaned']));
    expect((await ops('booking', 'acct_1:pi_c1')).text).toContain('account_mismatch');

    await bind('user-1', 'acct_1');
    expect((await pay('c2', { to: 'acct_1' })).status).toBe(200);
    await becomes('c2', 'scheduled');
    expect(stack.google?.control.events(account)).toHaveLength(1);
  });

  it('takes an event again from Stripe that came before its account was bound', async () => {
    const event = checkoutCompleted(demoBooking('user-1', 'c1', now), now - 600_000, 'c1');
    stack.stripe.control.register({ ...event, account: 'acct_1' } as StripeEvent);
    const { code, text } = await ops('recover', '--since', new Date(now - 3_600_000).toISOString());
    expect([code, text]).toEqual([0, expect.stringContaining('test mode acct_1 until')]);
    await becomes('c1', 'scheduled');
    expect(await statusOf('acct_1:pi_c1')).toBe('cancelled');
  });

  it.each<[string, Parameters<typeof pay>[1], number, object]>([
    [
      'an event without an account',
      { at: 'stripe-connect' },
      400,
      { code: 'unsupported_event_format', detail: expect.stringContaining('"stripe"') },
    ],
    [
      'an event that is signed with the secret of the own endpoint',
      { to: 'acct_1', signedAs: 'stripe' },
      400,
      { code: 'signature_mismatch' },
    ],
    [
      'an event of the own account that is signed with the secret for connected ones',
      { at: 'stripe', signedAs: 'stripe-connect' },
      400,
      { code: 'signature_mismatch' },
    ],
    [
      'an event of a connected account at the own endpoint',
      { to: 'acct_1', at: 'stripe' },
      200,
      { reason: 'connected_account' },
    ],
    ['an event of an organization', { to: 'org_1' }, 200, { reason: 'connected_account' }],
  ])('does not count %s', async (_, how, status, body) => {
    expect(await pay('c3', how)).toMatchObject({ status, body });
    expect(await statusOf('c3')).toBe('none');
  });

  it('counts a payment to the account that a booking names', async () => {
    const { summary, start, end } = demoBooking('user-1', 'c4', now);
    const desired = { summary, start, end, paymentAccount: 'acct_single' };
    expect(await api('user-1', 'PUT', '/bookings/c4', desired)).toMatchObject({
      status: 201,
      body: { desired: { paymentAccount: 'acct_single' } },
    });
    await pay('c4', { to: 'acct_single' });
    await becomes('c4', 'scheduled');
    // A patch keeps it, and null removes it.
    await api('user-1', 'PATCH', '/bookings/c4', { location: 'Room 2' });
    expect((await api('user-1', 'GET', '/bookings/c4')).body.desired).toMatchObject({
      paymentAccount: 'acct_single',
    });
    await api('user-1', 'PATCH', '/bookings/c4', { paymentAccount: null });
    expect((await api('user-1', 'GET', '/bookings/c4')).body.desired).not.toHaveProperty('paymentAccount');
    const refused = await api('user-1', 'PUT', '/bookings/c5', { ...desired, paymentAccount: 'cus_1' });
    expect(refused).toMatchObject({ status: 400, body: { problems: [{ field: 'paymentAccount' }] } });
  });
});

describe('an operator', () => {
  it('sees the accounts of a user, exports and erases them', async () => {
    await bind('user-3', 'acct_3');
    expect((await ops('user', 'user-3')).text).toContain('acct_3');
    expect(JSON.parse((await ops('export', 'user-3')).text)).toMatchObject({
      paymentAccounts: { acct_3: {} },
    });
    expect((await ops('erase', 'user-3', '--yes')).code).toBe(0);
    expect((await ops('user', 'user-3')).text).not.toContain('acct_3');
  });

  it('pays to a connected account with npm run pay', async () => {
    const command = join(import.meta.dirname, '..', '..', 'infra', 'cli', 'pay.ts');
    const args = ['--user', 'user-1', '--account', 'acct_1', '--state', state];
    const { stdout } = await promisify(execFile)(process.execPath, [command, ...args]);
    expect(stdout).toContain('scheduled');
  });
});
