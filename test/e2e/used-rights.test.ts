/** Each permission in the template is one that its function uses: a wider grant fails here. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { marshall } from '@aws-sdk/util-dynamodb';
import { expect, inject, onTestFinished, test, vi } from 'vitest';
import { connectUser, payForBooking } from '../../infra/cli/demo-user.ts';
import { rotate } from '../../infra/cli/keys-rotation.ts';
import { checkoutCompleted, demoBooking, stripeSigningSecret } from '../../infra/cli/payment.ts';
import { dynamoDbClient } from '../../infra/local/aws/dynamodb.ts';
import type { AwsCall } from '../../infra/local/aws/gateway.ts';
import { startLocalStack } from '../../infra/local/stack.ts';
import type { StripeEvent } from '../../infra/local/stripe/event-log.ts';
import { routes, webhookRoute } from '../../shared/lib/names.ts';
import { viewOf } from '../project/template.ts';
import { apiTokenFor } from './browser.ts';

/** Permissions that this test cannot exercise, with the reason why a function needs them. */
const reasons: Record<string, string> = {
  'booking-sync dynamodb:GetItem ConnectionsTable': 'waits for another worker that refreshes the same tokens',
};

/** `connections dynamodb:GetItem ConnectionsTable`, for the actions that functions call themselves. */
function grantedRights(): string[] {
  const file = join(inject('assembly'), 'LeadsCalendarGoogle.template.json');
  const grants = viewOf(JSON.parse(readFileSync(file, 'utf8'))).grants();
  return grants.flatMap((grant) => {
    const [, role = '', service = '', actions = '', resource = ''] =
      /^(\w+)\/Role may (dynamodb|sqs|secretsmanager|events): (.+?) on ([\w/-]+)/.exec(grant) ?? [];
    const name = role.replace(/(?<!^)([A-Z])/g, '-$1').toLowerCase();
    return actions
      .split(', ')
      .filter((action) => (service === 'sqs' ? action === 'SendMessage' : action !== ''))
      .map((action) => `${name} ${service}:${action} ${resource}`);
  });
}

/** The same for the recorded calls. */
function usedRights(calls: AwsCall[]): Set<string> {
  return new Set(
    calls.flatMap(({ functionName, service, operation, resource }) =>
      resource.split(', ').map((each) => {
        const name = each.replace(/^(table\/|secret:|event-bus\/)/, '').replace(/-local0$|\.fifo$/, '');
        const action = service === 'sqs' ? operation.replace(/Batch$/, '') : operation;
        return `${functionName} ${service}:${action} ${service === 'events' ? 'Bus' : name}`;
      }),
    ),
  );
}

vi.setConfig({ testTimeout: 120_000 });

test('the template grants no permission that its function does not use', async () => {
  const calls: AwsCall[] = [];
  const stack = await startLocalStack({
    assembly: inject('assembly'),
    google: { kind: 'simulator' },
    schedules: false,
    onCall: (call) => calls.push(call),
  });
  onTestFinished(() => stack.close());
  const google = stack.google?.control;
  const dynamo = dynamoDbClient(stack.endpoints.dynamodb);
  onTestFinished(() => dynamo.destroy());
  const now = Date.now();
  const account = 'ada@example.com';

  const settled = async () => {
    for (const until = Date.now() + 20_000; Date.now() < until; await sleep(20)) {
      const { ready, inFlight } = stack.queues.messages('BookingsQueue.fifo');
      if (ready.length + inFlight.length === 0) return;
    }
    throw new Error('The queue does not empty.');
  };
  const ask = async (userId: string, method: string, path: string, body?: object) => {
    const authorization = `Bearer ${await apiTokenFor(stack, userId)}`;
    const headers = { authorization, ...(body ? { 'content-type': 'application/json' } : {}) };
    const response = await fetch(`${stack.url}${path}`, {
      method,
      headers,
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    expect(response.ok, `${method} ${path}: ${response.status}`).toBe(true);
    return response;
  };
  const pay = (userId: string, bookingId: string) =>
    payForBooking(stack, demoBooking(userId, bookingId, now), { now, newId: bookingId });
  const set = (TableName: string, Key: Record<string, string>, field: string, value: number) =>
    dynamo.send(
      new UpdateItemCommand({
        TableName,
        Key: marshall(Key),
        UpdateExpression: 'SET #field = :value',
        ExpressionAttributeNames: { '#field': field },
        ExpressionAttributeValues: marshall({ ':value': value }),
      }),
    );

  // Bookings and payments, before and after a user connects.
  await pay('user-1', 'waits');
  await settled();
  await connectUser(stack, { userId: 'user-1', account, now });
  await settled();
  await pay('user-1', 'paid');
  await settled();
  const booking = routes.booking.replace('{id}', 'declared');
  const { summary, start, end } = demoBooking('user-1', 'declared', now);
  await ask('user-1', 'PUT', booking, { summary, start, end, hold: true });
  await ask('user-1', 'GET', booking);
  await ask('user-1', 'PATCH', booking, { location: 'Here' });
  await ask('user-1', 'GET', routes.bookings);
  await ask('user-1', 'DELETE', booking);
  await settled();

  // A thin event, and a payment whose webhook was lost.
  const payment = (id: string) =>
    checkoutCompleted(demoBooking('user-1', id, now), now - 600_000, id) as StripeEvent;
  const signingSecret = stripeSigningSecret(stack.secrets.get(stack.secretNames.webhookSigning) as string);
  const url = `${stack.url}${webhookRoute('stripe')}`;
  await stack.stripe.control.deliver(payment('thin'), { url, signingSecret, form: 'thin' });
  await settled();
  stack.stripe.control.register(payment('lost'));
  expect(await stack.invoke('payment-recovery', {})).toMatchObject({ ok: true });
  await settled();

  // The audit needs an access token, too.
  await set('ConnectionsTable', { userId: 'user-1' }, 'accessTokenExpiresAt', 1);
  expect(await stack.invoke('audit', {})).toMatchObject({ ok: true, payload: { users: 1, open: 0 } });

  // Expired tokens for sync and for the sweep, a rotated key, and a revoked grant.
  const expire = (field: string, userId = 'user-1') => set('ConnectionsTable', { userId }, field, 1);
  await expire('accessTokenExpiresAt');
  await pay('user-1', 'after-expiry');
  await settled();
  const name = stack.secretNames.keys['token-encryption'];
  const rotated = rotate(
    'token-encryption',
    stack.secrets.get(name) as string,
    Math.floor(now / 1000) - 86_400,
    () => 'n'.repeat(64),
  );
  stack.secrets.put(name, rotated.text);
  await expire('refreshAt');
  await stack.invoke('token-refresh', {});
  await expire('refreshAt');
  google?.fail({ on: 'token', how: { status: 400, oauthError: 'invalid_grant' } });
  await stack.invoke('token-refresh', {});
  google?.clearFaults();

  // A booking that has come due.
  await dynamo.send(
    new UpdateItemCommand({
      TableName: 'BookingsTable',
      Key: marshall({ id: 'booking#paid' }),
      UpdateExpression: 'SET syncDueAt = :past, syncShard = :shard',
      ExpressionAttributeValues: marshall({ ':past': 1, ':shard': '0' }),
    }),
  );
  await stack.invoke('booking-reconcile', {});
  await settled();

  // A connection is shown, changed and ended, with an expired token, and with a revocation that fails at first.
  await connectUser(stack, { userId: 'user-2', account: 'ben@example.com', now });
  await ask('user-2', 'GET', routes.connection);
  await expire('accessTokenExpiresAt', 'user-2');
  await ask('user-2', 'PATCH', routes.connection, { calendarId: 'primary' });
  google?.fail({ on: 'revoke', how: { status: 503 } });
  await ask('user-2', 'DELETE', routes.connection);
  await expire('refreshAt', 'user-2');
  await stack.invoke('token-refresh', {});
  await settled();

  const used = usedRights(calls);
  const unused = grantedRights().filter((right) => !used.has(right));
  expect(unused.filter((right) => !(right in reasons))).toEqual([]);
  expect(Object.keys(reasons).filter((right) => !grantedRights().includes(right))).toEqual([]);
  expect(grantedRights().length).toBeGreaterThan(30);
});
