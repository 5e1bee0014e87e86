import * as v from 'valibot';
import { expect } from 'vitest';
import type { Bus, BusEvent } from '../../shared/aws/bus.ts';
import { busEventSchema } from '../../shared/aws/bus-events.ts';
import { schemas } from '../../shared/lib/schema.ts';

/** An in-memory bus that can be unavailable. Rejects undocumented events. */
export type RecordedBus = Bus & { events: BusEvent[]; types(): string[]; unavailable: boolean };

export function recordedBus(): RecordedBus {
  const events: BusEvent[] = [];
  return {
    events,
    types: () => events.map(({ type }) => type),
    unavailable: false,
    async publish(...published) {
      if (this.unavailable) throw new Error('The bus is away.');
      // Parsing drops fields that are not documented.
      for (const event of published) {
        const sent = { ...event, schemaVersion: schemas['bus event'].writes };
        expect(v.parse(busEventSchema, sent)).toEqual(sent);
      }
      events.push(...published);
    },
  };
}
