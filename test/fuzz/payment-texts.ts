/** Appointment texts in payments: each field may hold values that parsers read differently. */
import fc from 'fast-check';
import { contestedZones, moments, texts } from './values.ts';

/** Readable times, local and with an offset. */
const readable = [
  { start: '2027-06-01T10:00:00', end: '2027-06-01T11:00:00' },
  { start: '2027-06-01T10:00:00+02:00', end: '2027-06-01T11:00:00Z' },
  { start: '2027-06-01', end: '2027-06-03' },
];

/** Bodies of a megabyte are a case of their own. */
const shortTexts = texts.filter((text) => text.length < 10_000);

/**
 * Texts by field. Most have one or two invalid fields, so that each field's value is reached.
 * @param zoneField how the provider calls the time zone
 */
export function anyTextsIn({ zoneField }: { zoneField: string }): fc.Arbitrary<Record<string, string>> {
  const ofKind: Record<string, fc.Arbitrary<string>> = {
    [zoneField]: fc.oneof({ weight: 3, arbitrary: contestedZones }, { weight: 1, arbitrary: shortTexts }),
    start: fc.oneof(fc.constantFrom(...moments), shortTexts),
    end: fc.oneof(fc.constantFrom(...moments), shortTexts),
    summary: shortTexts,
    location: shortTexts,
    description: shortTexts,
  };
  const change = fc
    .constantFrom(zoneField, zoneField, ...Object.keys(ofKind))
    .chain((field) => fc.tuple(fc.constant(field), ofKind[field] as fc.Arbitrary<string>));
  return fc
    .tuple(fc.constantFrom(...readable), fc.array(change, { minLength: 1, maxLength: 3 }))
    .map(([times, changes]) => ({
      summary: 'First meeting',
      ...times,
      [zoneField]: 'Europe/Berlin',
      ...Object.fromEntries(changes),
    }));
}
