import { describe, expect, it } from 'vitest';
import { processBatch } from '../../functions/booking-sync/process-batch.ts';
import { parseBookingMessage } from '../../functions/booking-sync/read-message.ts';
import { queuedText } from '../fakes/queue.ts';

const record = (messageId: string, groupId: string, bookingId = groupId) => ({
  messageId,
  groupId,
  repeated: false,
  body: queuedText({ type: 'sync', bookingId, cause: messageId }),
});

const read = async (body: string) => parseBookingMessage(body);

describe('processBatch', () => {
  it('processes a group in order, and different groups concurrently', async () => {
    const log: string[] = [];
    const records = [record('1', 'a'), record('2', 'b'), record('3', 'a')];
    const staying = await processBatch(records, read, async (message) => {
      const cause = 'cause' in message ? message.cause : '';
      log.push(`start ${cause}`);
      await new Promise((resolve) => setTimeout(resolve, cause === '1' ? 20 : 1));
      log.push(`end ${cause}`);
    });
    expect(staying).toEqual([]);
    expect(log).toEqual(['start 1', 'start 2', 'end 2', 'end 1', 'start 3', 'end 3']);
  });

  it('a failed message and later ones of its group stay in the queue, and no others', async () => {
    const records = [record('1', 'a'), record('2', 'a', 'bad'), record('3', 'b'), record('4', 'a')];
    const staying = await processBatch(records, read, async (message) => {
      if ('bookingId' in message && message.bookingId === 'bad') throw new Error('the table is away');
    });
    expect(staying).toEqual(['2', '4']);
  });

  it.each(['', 'text', '{}', '{"type":"other"}', '{"type":"payment.confirmed","bookingId":"b"}'])(
    'leaves an unknown message for the dead-letter queue: %j',
    async (body) => {
      const staying = await processBatch(
        [{ messageId: '1', groupId: 'a', body, repeated: false }],
        read,
        async () => {},
      );
      expect(staying).toEqual(['1']);
    },
  );
});
