import type { BookingMessage } from '../../shared/booking/queue.ts';
import { hasCode } from '../../shared/lib/app-error.ts';
import { describeError, log, metric } from '../../shared/lib/observability.ts';

/** A message of the FIFO queue. */
type QueueRecord = {
  messageId: string;
  groupId: string;
  body: string;
  /** Whether it was handed out before, and not acknowledged. */
  repeated: boolean;
};

/** Reads the body of a record. Throws where it is not to be processed. */
export type ReadMessage = (body: string) => Promise<BookingMessage>;
type ProcessMessage = (message: BookingMessage, delivery: { repeated: boolean }) => Promise<void>;

/**
 * Works through a batch: groups side by side, the messages of a group one after the other. Answers the ids of the
 * messages that are to stay in the queue: the one that failed and, to keep the order, all after it in its group.
 */
export async function processBatch(
  records: QueueRecord[],
  read: ReadMessage,
  process: ProcessMessage,
): Promise<string[]> {
  const groups = Map.groupBy(records, ({ groupId }) => groupId);
  const unprocessed = await Promise.all(
    [...groups.values()].map((group) => processGroup(group, read, process)),
  );
  return unprocessed.flat();
}

async function processGroup(
  group: QueueRecord[],
  read: ReadMessage,
  process: ProcessMessage,
): Promise<string[]> {
  for (const [index, { messageId, body, repeated }] of group.entries()) {
    try {
      await process(await read(body), { repeated });
    } catch (error) {
      log.error('Message stays in the queue', { messageId, error: describeError(error) });
      // The alarm rises before a message of a newer release becomes a dead letter.
      if (hasCode(error, 'schema_version_unsupported')) metric('OperatorError', 1);
      return group.slice(index).map((record) => record.messageId);
    }
  }
  return [];
}
