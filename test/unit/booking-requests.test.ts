import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readDesired, readListQuery, readPatched } from '../../functions/bookings/requests.ts';
import { AppError } from '../../shared/app-error.ts';
import type { Booking } from '../../shared/booking.ts';

const body = {
  summary: 'First meeting',
  start: '2027-03-01T10:00:00+01:00',
  end: '2027-03-01T11:00:00+01:00',
};
const booking = async (): Promise<Booking> => ({
  bookingId: 'booking-1',
  status: 'declared',
  revision: 1,
  appointment: (await readDesired(body)).appointment,
  payments: {},
  problems: [],
  generation: 0,
  attempts: 0,
  timeline: [],
  createdAt: '2026-11-23T07:00:00Z',
  updatedAt: '2026-11-23T07:00:00Z',
  version: 1,
});

/** What is sent at random: now and then under names and in forms that mean something. */
const anything = fc.oneof(
  fc.jsonValue(),
  fc.dictionary(
    fc.constantFrom(
      'summary',
      'start',
      'end',
      'timeZone',
      'hold',
      'attendees',
      'source',
      '__proto__',
      'status',
      'limit',
      'cursor',
      'from',
      'to',
    ),
    fc.oneof(
      fc.jsonValue(),
      fc.constantFrom(null, 'Europe/Berlin', '2027-03-01', '2027-03-28T02:30:00', '1', ''),
    ),
  ),
);

async function isReadOrRefused(read: () => unknown): Promise<void> {
  try {
    await read();
  } catch (error) {
    expect(error).toBeInstanceOf(AppError);
    expect(error).toMatchObject({ code: 'invalid_request', status: 400 });
    expect((error as AppError).problems.length).toBeGreaterThan(0);
  }
}

describe('requests about bookings', () => {
  it('are read or refused with their problems, whatever is sent', async () => {
    const stored = await booking();
    await fc.assert(
      fc.asyncProperty(anything, async (sent) => {
        await isReadOrRefused(() => readDesired(sent));
        await isReadOrRefused(() => readPatched(stored, sent));
        await isReadOrRefused(() => readListQuery(sent));
      }),
      { numRuns: 500 },
    );
  });

  it.each(['source', 'summary', 'nested'])('are refused where %s is deeper than the stack', async (name) => {
    const depth = 20_000;
    const deep = JSON.parse(`{"${name}":${'{"a":'.repeat(depth)}null${'}'.repeat(depth)}}`);
    await expect(readPatched(await booking(), deep)).rejects.toMatchObject({ code: 'invalid_request' });
    await expect(readDesired({ ...body, ...deep })).rejects.toMatchObject({ code: 'invalid_request' });
  });

  it('say of a field that is missing that it is', async () => {
    await expect(readDesired({})).rejects.toMatchObject({
      problems: ['summary', 'start', 'end'].map((field) => ({ field, message: 'It is missing.' })),
    });
  });

  it('are told every field that nobody knows, and nothing that they carry', async () => {
    const problem = (field: string, message: string) => ({ code: 'invalid_field', field, message });
    const guest = { email: 'ada@example.com', phone: 'secret' };
    const sent = { ...body, colour: 'secret', constructor: 1, attendees: [guest], visibility: 'secret' };
    await expect(readDesired(sent)).rejects.toMatchObject({
      problems: [
        problem('attendees.0.phone', 'There is no such field.'),
        problem('visibility', 'must be one of default, public, private, confidential'),
        problem('colour, constructor', 'There is no such field.'),
      ],
    });
    const query = async () => readListQuery({ limit: '0.5', from: '2027-02-29T10:00:00Z' });
    await expect(query()).rejects.toMatchObject({
      problems: [
        problem('from', 'It must be a time such as 2026-12-01T10:00:00Z.'),
        problem('limit', 'It must be a whole number from 1 to 100.'),
      ],
    });
  });

  it('as a patch of what is, change nothing', async () => {
    const stored = await booking();
    const { appointment } = await readPatched(stored, {});
    expect(appointment).toEqual(stored.appointment);
  });
});
