/** The FIFO queue of bookings as SQS has it: order and exclusion by group, deduplication, visibility, a dead-letter queue. */
import { createHash } from 'node:crypto';

export type QueuedMessage = { messageId: string; groupId: string; body: string; received: number };
type Kept = QueuedMessage & { visibleAt: number };

/** Milliseconds, as the template has them: a message is hidden from others while it is worked on. */
export const visibility = 180_000;
const deduplication = 300_000;

export type SimulatedQueue = ReturnType<typeof simulatedQueue>;

/**
 * @param now epoch milliseconds
 * @param maxReceived how often a message is handed out before it goes to the dead-letter queue
 */
export function simulatedQueue(now: () => number, maxReceived: () => number) {
  let messages: Kept[] = [];
  const dead: Kept[] = [];
  const sent = new Map<string, number>();
  const bodies = new Map<string, number>();

  /** The first messages of their groups. Those that were received too often go to the dead-letter queue. */
  function firstVisible(limit: number): Kept[] {
    const taken: Kept[] = [];
    const blocked = new Set<string>();
    for (const message of [...messages]) {
      if (taken.length === limit) break;
      if (message.visibleAt > now()) blocked.add(message.groupId);
      if (blocked.has(message.groupId)) continue;
      if (message.received < maxReceived()) taken.push(message);
      else {
        dead.push(message);
        messages = messages.filter((it) => it !== message);
      }
    }
    return taken;
  }

  return {
    /** Called whenever a message may be handed out. */
    onSend: (): void => {},
    send({
      groupId,
      deduplicationId,
      body,
    }: {
      groupId: string;
      deduplicationId: string;
      body: string;
    }): void {
      const known = sent.get(`${groupId} ${deduplicationId}`);
      if (known !== undefined && now() < known + deduplication) return;
      sent.set(`${groupId} ${deduplicationId}`, now());
      const count = (bodies.get(body) ?? 0) + 1;
      bodies.set(body, count);
      // Named by what it says, so that it has the same name in every replay.
      const messageId = `${createHash('sha256').update(body).digest('hex').slice(0, 8)}.${count}`;
      messages.push({ messageId, groupId, body, received: 0, visibleAt: 0 });
      this.onSend();
    },

    /** Hands out up to `limit` messages that come first in their groups, and hides them for `hiddenFor` milliseconds. */
    receive(limit = 10, hiddenFor = visibility): QueuedMessage[] {
      const taken = firstVisible(limit);
      for (const message of taken) {
        message.received += 1;
        message.visibleAt = now() + hiddenFor;
      }
      return taken.map(({ visibleAt: _, ...message }) => ({ ...message }));
    },

    remove(messageIds: string[]): void {
      messages = messages.filter(({ messageId }) => !messageIds.includes(messageId));
    },
    /** What an operator does with the dead-letter queue: hands its messages back. */
    redrive(): number {
      const back = dead.splice(0);
      messages.push(...back.map((message) => ({ ...message, received: 0, visibleAt: 0 })));
      return back.length;
    },
    size: () => messages.length,
    /** When the next message can be handed out: now, later, or never. Epoch milliseconds. */
    nextAt: (): number | undefined => {
      const firsts = new Map<string, number>();
      for (const { groupId, visibleAt } of messages)
        firsts.set(groupId, Math.max(firsts.get(groupId) ?? 0, visibleAt));
      return firsts.size === 0 ? undefined : Math.max(now(), Math.min(...firsts.values()));
    },
    bodies: () => messages.map(({ body }) => body),
    deadBodies: () => dead.map(({ body }) => body),
  };
}
