import { createHmac } from 'node:crypto';
import type { SendMessageBatchCommand, SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { beforeEach, describe, expect, it } from 'vitest';
import { verifiedMessages } from '../../functions/booking-sync/read-message.ts';
import { bookingQueue, type PaymentReported, paymentQueue } from '../../shared/booking/queue.ts';
import { parseKeys } from '../../shared/crypto/keys.ts';
import { splitMac, verifyMac, withMac } from '../../shared/crypto/payment-mac.ts';
import { type KeyPurpose, keySecrets } from '../../shared/lib/names.ts';
import { queuedText } from '../fakes/queue.ts';
import { cachedSecret } from '../fakes/secret.ts';
import { logged } from '../support/setup.ts';

const now = 1_790_000_000;
const master = (seed: string) => seed.repeat(64).slice(0, 64);
const keysOf = <Purpose extends KeyPurpose>(purpose: Purpose, held: Record<string, string>) =>
  parseKeys(purpose, JSON.stringify({ current: Object.keys(held)[0], ...held }));
const before = keysOf('payment-messages', { old: master('o') });
const rotated = keysOf('payment-messages', { new: master('n'), old: master('o') });
const after = keysOf('payment-messages', { new: master('n') });
const refused = expect.objectContaining({ code: 'payment_message_invalid' });

const payment: PaymentReported = {
  type: 'payment',
  paymentId: 'pi_1',
  eventId: 'evt_1',
  facts: { confirmedAt: '2026-11-25T09:00:00Z', amount: 9000 },
  booking: { bookingId: 'b1', userId: 'user-1', problems: [] },
};

beforeEach(() => {
  logged.length = 0;
});

/** The body of a sent queue message. */
async function sent(send: (client: SQSClient) => Promise<void>): Promise<string> {
  let body = '';
  const client = {
    send: async ({ input }: SendMessageCommand) => {
      body = input.MessageBody ?? '';
    },
  };
  await send(client as unknown as SQSClient);
  return body;
}
const queued = (keys = before, message = payment) =>
  sent((client) => paymentQueue('url', cachedSecret(keys), () => now, client).send(message));
const readWith = (keys = before) => {
  const messageKeys = cachedSecret(keys);
  const tokenKeys = cachedSecret(keysOf('token-encryption', { k1: master('t') }));
  return { messageKeys, tokenKeys, read: verifiedMessages({ messageKeys, tokenKeys }) };
};
const hmac = (key: string | Uint8Array, text: string) =>
  createHmac('sha256', key).update(text).digest('base64url');

describe('payment messages that are sent together', () => {
  const all = Array.from({ length: 12 }, (_, index) => ({ ...payment, paymentId: `pi_${index}` }));
  const sendAll = async (refused: number) => {
    const batches: string[][] = [];
    const client = {
      send: async ({ input: { Entries = [] } }: SendMessageBatchCommand) => {
        batches.push(Entries.map(({ MessageBody = '' }) => MessageBody));
        return { Failed: Entries.slice(0, refused).map(({ Id }) => ({ Id, Code: 'Throttled' })) };
      },
    };
    const queue = paymentQueue('url', cachedSecret(before), () => now, client as unknown as SQSClient);
    await queue.sendAll(all);
    return batches;
  };

  it('takes ten in a call, each with a MAC of its own', async () => {
    const batches = await sendAll(0);
    expect(batches.map(({ length }) => length)).toEqual([10, 2]);
    const { read } = readWith();
    const received = await Promise.all(batches.flat().map((body) => read(body)));
    expect(received.map((message) => 'paymentId' in message && message.paymentId)).toEqual(
      all.map(({ paymentId }) => paymentId),
    );
  });

  it('fails where the queue refuses one of them', async () => {
    await expect(sendAll(1)).rejects.toThrow('The queue refused 1 of 10 messages: Throttled.');
  });
});

describe('a payment message', () => {
  it('appends an HMAC-SHA256 with its key id to a payment message, which stays JSON', async () => {
    const body = await queued();
    const text = JSON.stringify({ ...payment, schemaVersion: 1, sentAt: now });
    const mac = `${hmac(before.key('old') as Uint8Array, text)}.old`;
    expect(body).toBe(`${text.slice(0, -1)},"mac":"${mac}"}`);
    expect(JSON.parse(body)).toEqual({ ...payment, schemaVersion: 1, sentAt: now, mac });
    expect(splitMac(body)).toEqual({ message: text, mac });
  });

  it('reads a payment message as it was sent', async () => {
    expect(await readWith().read(await queued())).toEqual({ ...payment, schemaVersion: 1, sentAt: now });
  });

  it('accepts the MAC of a payment message with any characters in its texts', async () => {
    const message = 'Grüße "\\ \u2028 \ud83d\ude00 \ud800 \uffff \u0000 ,"mac":"x.y"}';
    const booking = { bookingId: 'b1', problems: [{ code: 'invalid_booking', message }] };
    expect(await readWith().read(await queued(before, { ...payment, booking }))).toMatchObject({ booking });
  });

  it('accepts a payment message before, during and after a rotation while its key is listed', async () => {
    const old = await queued(before);
    const fresh = await queued(rotated);
    expect(splitMac(fresh).mac).toMatch(/\.new$/);
    for (const body of [old, fresh]) await expect(readWith(rotated).read(body)).resolves.toBeDefined();
    await expect(readWith(after).read(fresh)).resolves.toBeDefined();
    await expect(readWith(after).read(old)).rejects.toThrow(refused);
  });

  it('reads the secret again for a payment message with an unknown key', async () => {
    const { messageKeys, read } = readWith(before);
    messageKeys.newer = rotated;
    await expect(read(await queued(after))).resolves.toBeDefined();
    expect(messageKeys.value).toBe(rotated);
  });

  it('refuses a payment message with any character of its text changed', async () => {
    const { message, mac } = splitMac(await queued());
    expect(() => verifyMac(before, message, mac)).not.toThrow();
    for (let index = 0; index < message.length; index++) {
      const other = message[index] === '1' ? '2' : '1';
      const changed = `${message.slice(0, index)}${other}${message.slice(index + 1)}`;
      expect(() => verifyMac(before, changed, mac), changed).toThrow(refused);
    }
    for (const changed of [`${message} `, ` ${message}`, message.slice(0, -1), '']) {
      expect(() => verifyMac(before, changed, mac)).toThrow(refused);
    }
  });

  it('refuses a payment message with any other spelling of its MAC', async () => {
    const { message, mac = '' } = splitMac(await queued());
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const spellings = Array.from(mac, (own, index) =>
      [...alphabet, '=', '+', '/', ' ', '.', '']
        .filter((other) => other !== own)
        .map((other) => `${mac.slice(0, index)}${other}${mac.slice(index + 1)}`),
    ).flat();
    expect(spellings.length).toBeGreaterThan(2500);
    for (const spelling of [...spellings, ` ${mac}`, `${mac} `, `${mac}=`, mac.replace('.', '=.')]) {
      expect(() => verifyMac(before, message, spelling), spelling).toThrow(refused);
    }
  });

  const text = queuedText(payment);
  const withOwn = (mac: string) => `${text.slice(0, -1)},"mac":${JSON.stringify(mac)}}`;
  const right = splitMac(withMac(rotated, text, now)).mac?.replace('.new', '') as string;
  it.each<[string, string]>([
    ['without a MAC', text],
    ['with a MAC that is no text', `${text.slice(0, -1)},"mac":{"old":"${right}"}}`],
    ['with an empty MAC', withOwn('')],
    ['with only a key id', withOwn('.old')],
    ['without a key id', withOwn(right)],
    ['with an empty key id', withOwn(`${right}.`)],
    ['with the name of a prototype as key id', withOwn(`${right}.constructor`)],
    ['with the id of another key', withOwn(`${right}.old`)],
    [
      'with the MAC of another payment',
      withOwn(splitMac(withMac(rotated, text.replace('pi_1', 'pi_2'), now)).mac ?? ''),
    ],
    ['with a MAC before its own', withOwn(right).replace('{', `{"mac":"${right}.new",`)],
    ['with more members after its MAC', withMac(rotated, text, now).replace(/}$/, ',"paymentId":"pi_2"}')],
    ['with a hash instead of a MAC', withOwn(`${hmac('', text)}.old`)],
    ["with a MAC under the secret's own string", withOwn(`${hmac(master('o'), text)}.old`)],
    ...(Object.keys(keySecrets) as KeyPurpose[])
      .filter((purpose) => purpose !== 'payment-messages')
      .map((purpose): [string, string] => {
        const key = keysOf(purpose, { old: master('o') }).key('old') as Uint8Array;
        return [`with a MAC by the same string for ${purpose}`, withOwn(`${hmac(key, text)}.old`)];
      }),
  ])('refuses a payment message %s, and counts it for the operator', async (_, body) => {
    await expect(readWith(rotated).read(body)).rejects.toThrow(refused);
    const lines = logged.map((line) => JSON.parse(line));
    expect(lines.filter((line) => line.OperatorError === 1)).toHaveLength(1);
    expect(lines).toContainEqual(
      expect.objectContaining({ level: 'ERROR', message: 'Payment message not verified' }),
    );
    expect(logged.join()).not.toContain(master('o').slice(0, 16));
  });

  it('refuses a payment message while the keys cannot be read', async () => {
    const { read, messageKeys } = readWith();
    messageKeys.get = () => Promise.reject(new Error('Secrets Manager does not answer.'));
    await expect(read(await queued())).rejects.toThrow('does not answer');
  });

  it('verifies a payment message while the token keys cannot be read', async () => {
    const { read, tokenKeys } = readWith();
    tokenKeys.get = () => Promise.reject(new Error('Secrets Manager does not answer.'));
    await expect(read(await queued())).resolves.toBeDefined();
  });
});

it.each([
  { type: 'sync' as const, bookingId: 'b1', cause: 'due-1' },
  { type: 'connection.activated' as const, userId: 'user-1', tokenVersion: 1, page: 0 },
])('a message of type $type needs no MAC and no keys', async (message) => {
  const body = await sent((client) => bookingQueue('url', () => now, client).send(message));
  expect(splitMac(body)).toEqual({ message: body });
  const { read, messageKeys } = readWith();
  messageKeys.get = () => Promise.reject(new Error('not needed'));
  expect(await read(body)).toMatchObject(message);
});

it.each([
  '',
  '{',
  '{}',
  '"mac"',
  '{"type":"payment"}',
  '{"a":1,"mac":',
  '{"a":1,"mac":"x"',
  '{"a":{"b":1,"mac":"x"}}',
  '[1,"mac":"x"]',
])('refuses a malformed message body: %j', async (body) => {
  await expect(readWith().read(body)).rejects.toThrow();
});
