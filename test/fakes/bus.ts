import type { Bus, BusEvent } from '../../shared/bus.ts';

/** A bus that remembers, and that can be away. */
export type RecordedBus = Bus & { events: BusEvent[]; types(): string[]; away: boolean };

export function recordedBus(): RecordedBus {
  const events: BusEvent[] = [];
  return {
    events,
    types: () => events.map(({ type }) => type),
    away: false,
    async publish(...published) {
      if (this.away) throw new Error('The bus is away.');
      events.push(...published);
    },
  };
}
