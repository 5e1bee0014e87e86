import { beforeAll, expect, inject, test } from 'vitest';
import { startLocalStack } from '../../infra/local/stack.ts';
import { countCalls, refreshedConnections } from './call-scenarios.ts';

let counted: Awaited<ReturnType<typeof countCalls>>;

beforeAll(async () => {
  const stack = await startLocalStack({
    google: { kind: 'simulator' },
    schedules: false,
    assembly: inject('assembly'),
  });
  try {
    counted = await countCalls(stack);
  } finally {
    await stack.close();
  }
});

const read = { 'dynamodb:BatchGetItem table/BookingsTable, table/ConnectionsTable': 1 };
const insertAndRecord = {
  'google:events.insert': 1,
  'events:PutEvents': 1,
  // The booking, and the pointer by which refunds of the payment find it.
  'dynamodb:PutItem table/BookingsTable': 2,
};

test('a webhook is accepted with one call, and reads its secret once in the life of its environment', () => {
  const send = { 'sqs:SendMessage BookingsQueue.fifo': 1 };
  expect(counted['webhook accepts']).toEqual(send);
  expect(counted['webhook accepts, cold']).toEqual({
    'secretsmanager:GetSecretValue secret:WebhookSigning-local0': 1,
    ...send,
  });
});

test('a sync reads once, inserts, tells and records', () => {
  expect(counted['sync with a fresh token']).toEqual({ ...read, ...insertAndRecord });
});

test('an expired token costs a lease, a call to Google and a write', () => {
  expect(counted['sync with an expired token']).toEqual({
    ...read,
    'dynamodb:UpdateItem table/ConnectionsTable': 2,
    'google:token': 1,
    ...insertAndRecord,
  });
});

test('a duplicate payment costs one read', () => {
  expect(counted['sync of a duplicate']).toEqual(read);
});

test('connect looks for a known connection', () => {
  expect(counted.connect).toEqual({ 'dynamodb:GetItem table/ConnectionsTable': 1 });
});

test('showing a connection costs one read', () => {
  expect(counted['show a connection']).toEqual({ 'dynamodb:GetItem table/ConnectionsTable': 1 });
});

test('the callback redeems the code, stores, tells, and releases what waited', () => {
  expect(counted.callback).toEqual({
    'dynamodb:GetItem table/ConnectionsTable': 1,
    'google:token': 1,
    'events:PutEvents': 1,
    'dynamodb:PutItem table/ConnectionsTable': 1,
    'sqs:SendMessage BookingsQueue.fifo': 1,
  });
  expect(counted['release with nothing waiting']).toEqual({
    'dynamodb:Query table/BookingsTable/index/waiting': 1,
  });
});

test('schedules with nothing to do cost a query for each shard', () => {
  expect(counted['reconcile with nothing due']).toEqual({
    'dynamodb:Query table/BookingsTable/index/sync-due': 4,
  });
  expect(counted['refresh with nothing due']).toEqual({
    'dynamodb:Query table/ConnectionsTable/index/refresh-due': 4,
  });
});

test('a refresh costs a lease, a call to Google and a write for each connection', () => {
  expect(counted['refresh of several connections']).toEqual({
    ...counted['refresh with nothing due'],
    'dynamodb:UpdateItem table/ConnectionsTable': 2 * refreshedConnections,
    'google:token': refreshedConnections,
  });
});
