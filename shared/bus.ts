import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { eventSource } from './names.ts';

/** What LeadsCalendar is told. `id` is stable: the same happening published twice carries the same id. */
export type BusEvent = { type: BusEventType; id: string; time: string; userId?: string } & Record<
  string,
  unknown
>;

export type BusEventType =
  | 'connection.activated'
  | 'connection.reauthorization_required'
  | 'booking.scheduled'
  | 'booking.waiting'
  | 'booking.failed'
  | 'booking.missed';

/** Publishes events; resolves when the bus holds them, rejects otherwise. */
export type Bus = { publish(event: BusEvent): Promise<void> };

/** The EventBridge bus `name`. */
export function eventBridgeBus(name: string): Bus {
  const client = new EventBridgeClient();
  return {
    async publish(event) {
      const { Entries, FailedEntryCount } = await client.send(
        new PutEventsCommand({
          Entries: [
            {
              EventBusName: name,
              Source: eventSource,
              DetailType: event.type,
              Detail: JSON.stringify(event),
            },
          ],
        }),
      );
      // EventBridge answers 200 even when it refused an entry.
      if (FailedEntryCount)
        throw new Error(`The event bus refused ${event.type}: ${Entries?.[0]?.ErrorCode}`);
    },
  };
}
