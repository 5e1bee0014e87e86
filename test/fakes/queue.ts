import type { BookingMessage } from '../../shared/booking/queue.ts';

/** An in-memory queue that can be unavailable. */
export type RecordedQueue = {
  messages: BookingMessage[];
  unavailable: boolean;
  prepare(): Promise<void>;
  send(message: BookingMessage): Promise<void>;
  sendBatch(messages: BookingMessage[]): Promise<number>;
  sendAll(messages: BookingMessage[]): Promise<void>;
};

export function recordedQueue(): RecordedQueue {
  const messages: BookingMessage[] = [];
  return {
    messages,
    unavailable: false,
    async prepare() {},
    async send(message) {
      if (this.unavailable) throw new Error('The queue is away.');
      messages.push(message);
    },
    async sendBatch(batch) {
      if (this.unavailable) throw new Error('The queue is away.');
      messages.push(...batch);
      return batch.length;
    },
    async sendAll(batch) {
      await this.sendBatch(batch);
    },
  };
}

/** A message as the queue holds it. */
export const queuedText = (message: object): string => JSON.stringify({ ...message, schemaVersion: 1 });
