import { beforeAll, describe, expect, inject, test } from 'vitest';
import {
  measureScenarios,
  refreshedConnections,
  startMeasuredStack,
  waitingBookings,
} from './call-scenarios.ts';

let measured: Awaited<ReturnType<typeof measureScenarios>>;
type Scenario = keyof typeof measured;

beforeAll(async () => {
  const stack = await startMeasuredStack(inject('assembly'));
  try {
    measured = await measureScenarios(stack);
  } finally {
    await stack.close();
  }
});

const callsOf = (scenario: Scenario) => measured[scenario].calls;

const read = { 'dynamodb:BatchGetItem table/BookingsTable, table/ConnectionsTable': 1 };
const send = { 'sqs:SendMessage BookingsQueue.fifo': 1 };
const accept = { 'payment-confirmed': send };
const publish = { 'events:PutEvents': 1 };
// The booking, and the payment pointer for later refunds.
const tellAndRecord = { ...publish, 'dynamodb:PutItem table/BookingsTable': 2 };
const tellAndUpdate = { ...publish, 'dynamodb:PutItem table/BookingsTable': 1 };
const readConnection = { 'dynamodb:GetItem table/ConnectionsTable': 1 };
// The lease, and the result.
const writesOfARefresh = 2;

test('accepts a webhook with one call, and reads secrets once per environment', () => {
  expect(callsOf('first payment of a webhook')['payment-confirmed']).toEqual({
    'secretsmanager:GetSecretValue secret:WebhookSigning-local0': 1,
    'secretsmanager:GetSecretValue secret:PaymentMessages-local0': 1,
    ...send,
  });
  expect(callsOf('payment')['payment-confirmed']).toEqual(send);
});

test('syncs a payment with one read, one insert, one bus event and one write', () => {
  expect(callsOf('payment')).toEqual({
    ...accept,
    'booking-sync': { ...read, ...tellAndRecord },
    google: { 'events.insert': 1 },
  });
});

test('refreshes an expired token with a lease, one call to Google and one write', () => {
  expect(callsOf('payment with an expired token')).toEqual({
    ...accept,
    'booking-sync': {
      ...read,
      'dynamodb:UpdateItem table/ConnectionsTable': writesOfARefresh,
      ...tellAndRecord,
    },
    google: { token: 1, 'events.insert': 1 },
  });
});

test('syncs a duplicate payment with one read', () => {
  expect(callsOf('duplicate')).toEqual({ ...accept, 'booking-sync': read });
});

test('syncs a payment of an unconnected user without calling Google', () => {
  expect(callsOf('payment of an unconnected user')).toEqual({
    ...accept,
    'booking-sync': { ...read, ...tellAndRecord },
  });
});

test.each<[Scenario, string]>([
  ['reschedule', 'events.patch'],
  ['cancel', 'events.delete'],
])('handles %s with one read, write and message, and a sync with one %s', (change, call) => {
  expect(callsOf(change)).toEqual({
    bookings: {
      'dynamodb:GetItem table/BookingsTable': 1,
      'dynamodb:PutItem table/BookingsTable': 1,
      ...send,
    },
    'booking-sync': { ...read, ...tellAndUpdate },
    google: { [call]: 1 },
  });
});

test('connect makes no call once its secrets are cached', () => {
  expect(callsOf('connect')).toEqual({});
});

test('shows a connection with one read', () => {
  expect(callsOf('show a connection')).toEqual({ connections: readConnection });
});

const complete = {
  ...readConnection,
  // The attempt is counted before Google is called.
  'dynamodb:UpdateItem table/ConnectionsTable': 1,
  ...publish,
  'dynamodb:PutItem table/ConnectionsTable': 1,
  ...send,
};

test('the callback makes only the calls that it needs, and one query for waiting bookings', () => {
  expect(callsOf('callback')).toEqual({
    'oauth-callback': complete,
    'booking-sync': { 'dynamodb:Query table/BookingsTable/index/waiting': 1 },
    google: { token: 1, 'events.list': 1 },
  });
});

test('a reconnect requeues waiting bookings with one query and one batch', () => {
  const { 'booking-sync': sync = {}, ...others } = callsOf('reconnect with waiting bookings');
  expect(others).toEqual({
    'oauth-callback': complete,
    google: { token: 1, 'events.list': 1, 'events.insert': waitingBookings },
  });
  // Several at once may start another environment, which reads its secret.
  const { 'secretsmanager:GetSecretValue secret:TokenEncryption-local0': _, ...warm } = sync;
  expect(warm).toEqual({
    'dynamodb:Query table/BookingsTable/index/waiting': 1,
    'sqs:SendMessageBatch BookingsQueue.fifo': 1,
    'dynamodb:BatchGetItem table/BookingsTable, table/ConnectionsTable': waitingBookings,
    'events:PutEvents': waitingBookings,
    'dynamodb:PutItem table/BookingsTable': waitingBookings,
  });
});

test('a disconnect makes only the calls that it needs to store, publish and revoke', () => {
  expect(callsOf('disconnect')).toEqual({
    connections: {
      // Requests without a need for Google's tokens have not read it.
      'secretsmanager:GetSecretValue secret:TokenEncryption-local0': 1,
      ...readConnection,
      ...publish,
      'dynamodb:PutItem table/ConnectionsTable': 1,
      'dynamodb:Query table/ConnectionsTable/index/google-account': 1,
      'dynamodb:UpdateItem table/ConnectionsTable': 1,
    },
    google: { revoke: 1 },
  });
});

const sweep = { 'dynamodb:Query table/ConnectionsTable/index/refresh-due': 4 };

test('schedules without due items make one query per shard', () => {
  expect(callsOf('reconcile with nothing due')).toEqual({
    'booking-reconcile': { 'dynamodb:Query table/BookingsTable/index/sync-due': 4 },
  });
  expect(callsOf('refresh with nothing due')).toEqual({ 'token-refresh': sweep });
});

test('refreshes each connection with a lease, one call to Google and one write', () => {
  expect(callsOf('refresh of several connections')).toEqual({
    'token-refresh': {
      ...sweep,
      'dynamodb:UpdateItem table/ConnectionsTable': writesOfARefresh * refreshedConnections,
    },
    google: { token: refreshedConnections },
  });
});

// Budgets independent of the clock. Units are upper bounds: some items are about as large as a unit, and a number
// in them may take a byte more or less.
describe('item budgets', () => {
  test.each<[Scenario, { read: number; written: number; readUnits: number; writeUnits: number }]>([
    // Read: the connection. A read of a missing booking or pointer costs a unit each. Written: the booking with
    // its entries in two indexes, and the pointer. With its state, a booking is larger than one unit.
    ['payment', { read: 1, written: 2, readUnits: 3, writeUnits: 5 }],
    ['duplicate', { read: 3, written: 0, readUnits: 3, writeUnits: 0 }],
    ['payment with an expired token', { read: 1, written: 4, readUnits: 3, writeUnits: 9 }],
    // One unit more: the entry in the index of what an operator looks for.
    ['payment of an unconnected user', { read: 1, written: 2, readUnits: 3, writeUnits: 6 }],
    ['reschedule', { read: 3, written: 2, readUnits: 3, writeUnits: 10 }],
    ['cancel', { read: 3, written: 2, readUnits: 3, writeUnits: 9 }],
    ['connect', { read: 0, written: 0, readUnits: 0, writeUnits: 0 }],
    // One unit more each: the entry in the index of addresses.
    ['callback', { read: 0, written: 2, readUnits: 1.5, writeUnits: 6 }],
    ['show a connection', { read: 1, written: 0, readUnits: 1, writeUnits: 0 }],
    ['disconnect', { read: 1, written: 2, readUnits: 1.5, writeUnits: 9 }],
    ['reconcile with nothing due', { read: 0, written: 0, readUnits: 2, writeUnits: 0 }],
    ['refresh with nothing due', { read: 0, written: 0, readUnits: 2, writeUnits: 0 }],
    [
      'refresh of several connections',
      {
        read: refreshedConnections,
        written: writesOfARefresh * refreshedConnections,
        readUnits: 2,
        writeUnits: 4 * refreshedConnections,
      },
    ],
  ])('%s keeps its item budget', (scenario, budget) => {
    const { read, written, readUnits, writeUnits } = measured[scenario].items;
    expect({ read, written }).toEqual({ read: budget.read, written: budget.written });
    expect(readUnits).toBeLessThanOrEqual(budget.readUnits);
    expect(writeUnits).toBeLessThanOrEqual(budget.writeUnits);
  });

  test('each queue message and bus event is billed as one request', () => {
    for (const { messages, events } of Object.values(measured))
      for (const bytes of [...messages, ...events]) expect(bytes).toBeLessThan(64 * 1024);
  });
});
