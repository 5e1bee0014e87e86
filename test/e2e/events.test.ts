import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { marshall } from '@aws-sdk/util-dynamodb';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectUser, payForBooking } from '../../infra/cli/demo-user.ts';
import { demoBooking, hour, rfc3339 } from '../../infra/cli/payment.ts';
import { dynamoDbClient } from '../../infra/local/aws/dynamodb.ts';
import { closeServer, listen } from '../../infra/local/ports.ts';
import { type LocalStack, startLocalStack } from '../../infra/local/stack.ts';
import { synthesize } from '../../infra/synthesize.ts';
import { routes } from '../../shared/lib/names.ts';
import { temporaryDirectory } from '../local-stack/local-assembly.ts';
import { apiTokenFor } from './browser.ts';

type Event = { type: string; id: string; userId?: string; bookingId?: string };

const schema = JSON.parse(readFileSync(join(import.meta.dirname, '../../docs/events.schema.json'), 'utf8'));
const ajv = formats.default(new Ajv2020({ strictTypes: false }));
/** Also refuses fields that are not documented. */
const isDocumented = ajv.compile({ ...schema, unevaluatedProperties: false });
const ada = 'ada@example.com';
const ben = 'ben@example.com';
const now = Date.now();

let receiver: Server;
let stack: LocalStack;
let links = 0;
const received: { key: unknown; event: Event }[] = [];
/** The receiver's next answers by bookingId; 200 after them. */
const answers: Record<string, number[]> = { unwelcome: [400], twice: [503, 429] };

// LeadsCalendar's server, whose URL the stack is configured with. Synthesis requires HTTPS, so the test replaces
// it afterwards.
beforeAll(async () => {
  receiver = createServer(async (request, response) => {
    const event = (await json(request)) as Event;
    received.push({ key: request.headers['x-api-key'], event });
    response.writeHead(answers[event.bookingId ?? '']?.shift() ?? 200).end();
  });
  const port = await listen(receiver, 0);
  const assembly = temporaryDirectory();
  const eventsUrl = 'https://app.example.com/events';
  synthesize(assembly, { eventsUrl });
  const template = join(assembly, 'LeadsCalendarGoogle.template.json');
  const declared = readFileSync(template, 'utf8');
  writeFileSync(template, declared.replaceAll(eventsUrl, `http://127.0.0.1:${port}/events`));
  stack = await startLocalStack({ google: { kind: 'simulator' }, schedules: false, assembly });
});
afterAll(async () => {
  await stack?.close();
  await closeServer(receiver);
});

const connect = (userId: string, account = ada) =>
  // A link per second, so that no two are equal.
  connectUser(stack, { userId, account, now: now + 1000 * links++ });
const pay = (userId: string, bookingId: string, change: object = {}) =>
  payForBooking(stack, { ...demoBooking(userId, bookingId, now), ...change }, { now, newId: bookingId });
/** Makes a check due now that is due in some days. */
async function bringForward(id: string): Promise<void> {
  const client = dynamoDbClient(stack.endpoints.dynamodb);
  await client.send(
    new UpdateItemCommand({
      TableName: 'BookingsTable',
      Key: marshall({ id }),
      UpdateExpression: 'SET syncDueAt = :now, syncShard = :shard',
      ExpressionAttributeValues: marshall({ ':now': Math.floor(Date.now() / 1000), ':shard': '0' }),
    }),
  );
  client.destroy();
}
const eventsOf = (about: string) =>
  received.map(({ event }) => event).filter(({ userId, bookingId }) => [userId, bookingId].includes(about));
const typesOf = (about: string) => eventsOf(about).map(({ type }) => type);

describe('delivery of bus events to the URL of the stack', () => {
  it('delivers bus events for a connection that is made, moved, revoked and ended', async () => {
    await connect('user');
    await connect('user', ben);
    await expect
      .poll(() => typesOf('user'))
      .toEqual(['connection.activated', 'connection.activated', 'connection.account_changed']);

    stack.google?.control.revokeGrant(ben);
    await pay('user', 'after-revocation');
    await expect.poll(() => typesOf('user')).toContain('connection.reauthorization_required');
    await expect.poll(() => typesOf('after-revocation')).toEqual(['booking.waiting']);

    await fetch(`${stack.url}${routes.connection}`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${await apiTokenFor(stack, 'user')}` },
    });
    await expect.poll(() => typesOf('user')).toContain('connection.disconnected');
  });

  it('delivers bus events for a booking that is scheduled, waiting, failed or missed', async () => {
    await connect('payer');
    const over = { start: rfc3339(now - 2 * hour), end: rfc3339(now - hour) };
    await pay('payer', 'scheduled');
    await pay('stranger', 'waiting');
    await pay('payer', 'failed', { summary: '' });
    await pay('payer', 'missed', over);
    for (const outcome of ['scheduled', 'waiting', 'failed', 'missed']) {
      await expect.poll(() => typesOf(outcome)).toContain(`booking.${outcome}`);
    }
  });

  it('delivers bus events for a booking that is changed, cancelled or deleted by its owner', async () => {
    const authorization = `Bearer ${await apiTokenFor(stack, 'payer')}`;
    const call = (bookingId: string, method: string, body?: object) =>
      fetch(`${stack.url}/bookings/${bookingId}`, {
        method,
        headers: { authorization, 'content-type': 'application/json' },
        ...(body ? { body: JSON.stringify(body) } : {}),
      });
    await pay('payer', 'changed');
    await expect.poll(() => typesOf('changed')).toEqual(['booking.scheduled']);
    expect((await call('changed', 'PATCH', { location: 'Room 7' })).status).toBe(202);
    await expect.poll(() => typesOf('changed')).toContain('booking.rescheduled');
    expect((await call('changed', 'DELETE')).status).toBe(202);
    await expect.poll(() => typesOf('changed')).toContain('booking.cancelled');

    const inFiveDays = now + 5 * 24 * hour;
    await pay('payer', 'deleted', { start: rfc3339(inFiveDays), end: rfc3339(inFiveDays + hour) });
    await expect.poll(() => typesOf('deleted')).toEqual(['booking.scheduled']);
    const found = stack.google?.control
      .events(ada)
      .find((event) => event.extendedProperties?.private?.leadscalendarBooking === 'deleted');
    stack.google?.control.deleteEvent(ada, found?.id ?? '');
    await bringForward('booking#deleted');
    await stack.invoke('booking-reconcile', {});
    await expect.poll(() => typesOf('deleted')).toContain('booking.deleted_by_user');
  });

  it('delivers a bus event when a user disconnects from a shared Google account', async () => {
    await connect('second');
    await fetch(`${stack.url}${routes.connection}`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${await apiTokenFor(stack, 'second')}` },
    });
    await expect.poll(() => typesOf('second')).toContain('connection.account_shared');
    expect(eventsOf('second').find(({ type }) => type === 'connection.account_shared')).toMatchObject({
      otherUserIds: ['payer'],
    });
  });

  it('delivers bus events for an orphaned payment and a hold that ends', async () => {
    await pay('stranger', 'scheduled', { summary: 'For the booking of another user' });
    await expect.poll(() => typesOf('scheduled')).toContain('payment.orphaned');
    expect(eventsOf('missed').find(({ type }) => type === 'payment.orphaned')).toMatchObject({
      userId: 'payer',
      paymentId: 'pi_missed',
      reason: 'too_late',
      amount: 9000,
    });

    const authorization = `Bearer ${await apiTokenFor(stack, 'payer')}`;
    const declare = (hold: boolean) =>
      fetch(`${stack.url}/bookings/held`, {
        method: 'PUT',
        headers: { authorization, 'content-type': 'application/json' },
        body: JSON.stringify({
          summary: 'Held',
          start: rfc3339(now + 50 * hour),
          end: rfc3339(now + 51 * hour),
          hold,
        }),
      });
    expect((await declare(true)).status).toBe(202);
    const status = async () =>
      (
        (await (await fetch(`${stack.url}/bookings/held`, { headers: { authorization } })).json()) as {
          status: string;
        }
      ).status;
    await expect.poll(status).toBe('held');
    await declare(false);
    await expect.poll(() => typesOf('held')).toEqual(['booking.hold_released']);
  });

  it('redelivers a bus event with the same id after a 5xx', async () => {
    await pay('payer', 'twice');
    await expect.poll(() => eventsOf('twice')).toHaveLength(3);
    expect(new Set(eventsOf('twice').map(({ id }) => id)).size).toBe(1);
  });

  it('keeps a refused bus event in the dead-letter queue', async () => {
    await pay('payer', 'unwelcome');
    const kept = () =>
      stack.queues.messages('EventsDeliveryDeadLetters').ready.map((body) => JSON.parse(body));
    await expect.poll(kept).toEqual(eventsOf('unwelcome'));
  });

  it('sends the generated key in a header of each bus event', () => {
    const key = stack.secrets.get('EventsDeliveryKey');
    expect(key).toMatch(/^[A-Za-z0-9]{48}$/);
    for (const each of received) expect(each.key).toBe(key);
  });

  it('delivers the end of an audit', async () => {
    expect(await stack.invoke('audit', {})).toMatchObject({ ok: true });
    await expect
      .poll(() => received.map(({ event }) => event.type), { timeout: 15_000 })
      .toContain('audit.completed');
  });

  it('has delivered each type of bus event, all as docs/events.schema.json documents', () => {
    for (const { event } of received)
      expect(isDocumented(event), JSON.stringify([event, isDocumented.errors])).toBe(true);
    // Conflicts are published only with the option for them: test/integration/conflict.test.ts.
    const types = Object.keys(schema.$defs).filter(
      (name) => name.includes('.') && name !== 'booking.conflict',
    );
    expect([...new Set(received.map(({ event }) => event.type))].sort()).toEqual(types.sort());
  });
});
