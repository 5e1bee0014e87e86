import type { BookingMessage, BookingQueue } from '../../shared/booking-queue.ts';

/** A queue that remembers, and that can be away. */
export type RecordedQueue = BookingQueue & { messages: BookingMessage[]; away: boolean };

export function recordedQueue(): RecordedQueue {
  const messages: BookingMessage[] = [];
  return {
    messages,
    away: false,
    async send(message) {
      if (this.away) throw new Error('The queue is away.');
      messages.push(message);
    },
    async sendBatch(batch) {
      if (this.away) throw new Error('The queue is away.');
      messages.push(...batch);
      return batch.length;
    },
  };
}
