import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { eventSource } from '../lib/names.ts';
import { schemas } from '../lib/schema.ts';
import type { BusEventType } from './bus-events.ts';

/**
 * An event for LeadsCalendar; the fields of each type are in bus-events.ts. A repetition of the same event has the same
 * `id`.
 */
export type BusEvent = { type: BusEventType; id: string; time: string; userId?: string } & Record<
  string,
  unknown
>;

export type { BusEventType };

/** Publishes at most ten events. Resolves when the bus holds all of them, rejects otherwise. */
export type Bus = { publish(...events: BusEvent[]): Promise<void> };

/** The EventBridge bus `name`. */
export function eventBridgeBus(name: string, client: EventBridgeClient = new EventBridgeClient()): Bus {
  return {
    async publish(...events) {
      const { Entries: answers = [], FailedEntryCount } = await client.send(
        new PutEventsCommand({
          Entries: events.map((event) => ({
            EventBusName: name,
            Source: eventSource,
            DetailType: event.type,
            Detail: JSON.stringify({ ...event, schemaVersion: schemas['bus event'].writes }),
          })),
        }),
      );
      // EventBridge answers 200 even when it refused an entry.
      if (FailedEntryCount) {
        const codes = answers.flatMap(({ ErrorCode }) => ErrorCode ?? []);
        throw new Error(`The event bus refused ${FailedEntryCount} events: ${codes.join(', ')}`);
      }
    },
  };
}
