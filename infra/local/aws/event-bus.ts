/** EventBridge on this machine: accepts published events, keeps the latest and notifies a listener. */
import { randomUUID } from 'node:crypto';
import * as v from 'valibot';
import { awsError, type Operations, operation } from './aws-json.ts';
import type { ResolvedResource } from './resources.ts';

/** An event as a rule's target would receive it. */
export type BusEvent = {
  id: string;
  bus: string;
  source: string;
  detailType: string;
  time: string;
  detail: Record<string, unknown>;
};

type LocalEventBus = {
  operations: Operations;
  create(buses: ResolvedResource[]): void;
  /** The latest events, oldest first. */
  events(): BusEvent[];
};

/** The entry and request limits of PutEvents. */
const maximumEntryBytes = 256 * 1024;
const maxEvents = 1000;

const PutEvents = v.object({
  Entries: v.pipe(
    v.array(
      v.object({
        Source: v.optional(v.string()),
        DetailType: v.optional(v.string()),
        Detail: v.optional(v.string()),
        EventBusName: v.optional(v.string()),
        Time: v.optional(v.number()),
        Resources: v.optional(v.array(v.string())),
        TraceHeader: v.optional(v.string()),
      }),
    ),
    v.minLength(1),
    v.maxLength(10),
  ),
});
type Entry = v.InferOutput<typeof PutEvents>['Entries'][number];

export function createEventBus(onEvent: (event: BusEvent) => void): LocalEventBus {
  const names = new Map<string, string>();
  /** Names of the buses that are associated with a partner event source, by the source. */
  const partnerBuses = new Map<string, string>();
  const events: BusEvent[] = [];

  const refuse = (code: string, message: string) => ({ ErrorCode: code, ErrorMessage: message });
  const accept = (entry: Entry) => {
    const { Source, DetailType, Detail } = entry;
    if (!Source)
      return refuse(
        'InvalidArgument',
        'Parameter Source is not valid. Reason: Source is a required argument.',
      );
    if (!DetailType) {
      return refuse(
        'InvalidArgument',
        'Parameter DetailType is not valid. Reason: DetailType is a required argument.',
      );
    }
    if (!Detail)
      return refuse(
        'InvalidArgument',
        'Parameter Detail is not valid. Reason: Detail is a required argument.',
      );
    const detail = parseObject(Detail);
    if (!detail) return refuse('MalformedDetail', 'Detail is malformed.');
    const event = {
      id: randomUUID(),
      bus: names.get(entry.EventBusName ?? '') ?? 'default',
      source: Source,
      detailType: DetailType,
      time: new Date(entry.Time ? entry.Time * 1000 : Date.now()).toISOString(),
      detail,
    };
    events.push(event);
    if (events.length > maxEvents) events.shift();
    onEvent(event);
    return { EventId: event.id };
  };

  const ofAccount = (entry: Entry) =>
    entry.Source?.startsWith('aws.')
      ? refuse('NotAuthorizedForSourceException', `Not authorized for the source ${entry.Source}.`)
      : accept(entry);
  const ofPartner = (entry: Entry) => {
    const bus = partnerBuses.get(entry.Source ?? '');
    return bus === undefined
      ? refuse('ResourceNotFoundException', `No bus is associated with the source ${entry.Source}.`)
      : accept({ ...entry, EventBusName: bus });
  };
  const answer = (entries: (ReturnType<typeof refuse> | { EventId: string })[]) => ({
    FailedEntryCount: entries.filter((entry) => 'ErrorCode' in entry).length,
    Entries: entries,
  });

  return {
    create(buses) {
      for (const { ref, arn, properties } of buses) {
        names.set(ref, ref);
        names.set(arn, ref);
        if (typeof properties.EventSourceName === 'string') partnerBuses.set(properties.EventSourceName, ref);
      }
    },
    events: () => [...events],
    operations: {
      'AWSEvents.PutEvents': operation(PutEvents, ({ Entries }) => {
        for (const { EventBusName } of Entries) {
          if (EventBusName && EventBusName !== 'default' && !names.has(EventBusName)) {
            throw awsError('ResourceNotFoundException', `Event bus ${EventBusName} does not exist.`);
          }
        }
        const bytes = Entries.reduce((sum, { Detail, DetailType, Source }) => {
          return sum + Buffer.byteLength(`${Detail ?? ''}${DetailType ?? ''}${Source ?? ''}`);
        }, 0);
        if (bytes > maximumEntryBytes) {
          throw awsError(
            'ValidationException',
            'Total size of the entries in the request is over the limit.',
          );
        }
        return answer(Entries.map(ofAccount));
      }),
      // As a partner such as Stripe publishes: its account is another one, which is not checked here.
      'AWSEvents.PutPartnerEvents': operation(PutEvents, ({ Entries }) => answer(Entries.map(ofPartner))),
    },
  };
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
