import type { Edit } from './build-release.ts';

const random = 'crypto.randomUUID()';
const stampsBooking = 'const schemaVersion = schemas.booking.writes;';
const versions: [string, string][] = [
  ['  booking: { reads: [1, 2], writes: 1 }', '  booking: { reads: [1, 2, 3], writes: 2 }'],
  [
    "  'payment pointer': { reads: [1, 2], writes: 1 }",
    "  'payment pointer': { reads: [1, 2, 3], writes: 2 }",
  ],
  ['  connection: { reads: [1, 2], writes: 1 }', '  connection: { reads: [1, 2, 3], writes: 2 }'],
  ['  message: { reads: [1], writes: 1 }', '  message: { reads: [1, 2], writes: 2 }'],
];

/**
 * A next release, in version 2: every item, payment and message gets a `reference`, and the `revision` of a booking is
 * renamed to `generation`. It expands: it writes both names, and relies on the new one in items of its own.
 */
export const nextRelease: Edit[] = [
  ...versions.map(([from, to]) => ({ file: 'shared/lib/schema.ts', from, to })),
  {
    file: 'shared/booking/store.ts',
    from: "  requireReadable('booking', stored.schemaVersion);",
    to: `  requireReadable('booking', stored.schemaVersion);\n  stored.reference ??= ${random};\n  if (stored.schemaVersion === 2 && stored.generation !== stored.revision) throw new Error('The generation is stale.');`,
  },
  {
    file: 'shared/booking/store.ts',
    from: stampsBooking,
    to: `${stampsBooking}\n  booking = { ...booking, reference: booking.reference ?? ${random}, generation: booking.revision };`,
  },
  {
    file: 'shared/booking/store.ts',
    from: "const schemaVersion = schemas['payment pointer'].writes;",
    to: `const schemaVersion = schemas['payment pointer'].writes;\n  pointer = { reference: ${random}, ...pointer };`,
  },
  {
    file: 'shared/connection/store.ts',
    from: 'toItem({ ...connection, schemaVersion,',
    to: `toItem({ reference: ${random}, ...connection, schemaVersion,`,
  },
  {
    file: 'shared/booking/queue.ts',
    from: 'JSON.stringify({ ...message, schemaVersion:',
    to: `JSON.stringify({ ...message, reference: ${random}, ...(message.type === 'payment' ? { facts: { ...message.facts, reference: message.paymentId } } : {}), schemaVersion:`,
  },
  {
    file: 'functions/booking-sync/read-message.ts',
    from: 'const sent = {',
    to: 'const sent = { reference: v.optional(v.string()),',
  },
  {
    file: 'functions/booking-sync/read-message.ts',
    from: '    confirmedAt: v.optional(text),',
    to: '    confirmedAt: v.optional(text), reference: v.optional(text),',
  },
];

/** Mistakes of today's release, each with what is lost by it. */
export const mistakes: Record<string, Edit> = {
  'writes a booking without fields of the next release': {
    file: 'shared/booking/store.ts',
    from: stampsBooking,
    to: `${stampsBooking}\n  booking = { ...booking, reference: undefined };`,
  },
  'writes a pointer without fields of the next release': {
    file: 'functions/booking-sync/payment-pointer.ts',
    from: '{ ...kept, paymentId',
    to: '{ version: kept.version, paymentId',
  },
  'writes a connection without fields of the next release': {
    file: 'functions/oauth-callback/build-connection.ts',
    from: '    ...(existing ? unknownFields(existing) : {}),',
    to: '',
  },
  'merges payments without fields of the next release': {
    file: 'shared/booking/payment.ts',
    from: '    ...one,\n    ...other,\n    confirmedAt',
    to: '    confirmedAt',
  },
  'stamps a booking with the version that it read': {
    file: 'shared/booking/store.ts',
    from: stampsBooking,
    to: 'const schemaVersion = booking.schemaVersion ?? 1;',
  },
  'reads no booking of the next release': {
    file: 'shared/lib/schema.ts',
    from: '  booking: { reads: [1, 2]',
    to: '  booking: { reads: [1]',
  },
  'acknowledges a message that it does not read': {
    file: 'functions/booking-sync/process-batch.ts',
    from: 'return group.slice(index).map((record) => record.messageId);',
    to: 'return [];',
  },
};
