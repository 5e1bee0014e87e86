import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseDesired, parseListQuery, parsePatch } from '../../functions/bookings/requests.ts';
import type { Booking } from '../../shared/booking/booking.ts';
import { AppError } from '../../shared/lib/app-error.ts';

const body = {
  summary: 'First meeting',
  start: '2027-03-01T10:00:00+01:00',
  end: '2027-03-01T11:00:00+01:00',
};
const booking = async (): Promise<Booking> => ({
  schemaVersion: 1,
  calendar: { kind: 'absent' },
  bookingId: 'booking-1',
  status: 'declared',
  revision: 1,
  appointment: (await parseDesired(body)).appointment,
  payments: {},
  problems: [],
  eventNumber: 0,
  timeline: [],
  createdAt: '2026-11-23T07:00:00Z',
  updatedAt: '2026-11-23T07:00:00Z',
  version: 1,
});

/** Random input, at times with meaningful names and forms. */
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
  it('reads any booking request or refuses it with problems', async () => {
    const stored = await booking();
    await fc.assert(
      fc.asyncProperty(anything, async (sent) => {
        await isReadOrRefused(() => parseDesired(sent));
        await isReadOrRefused(() => parsePatch(stored, sent));
        await isReadOrRefused(() => parseListQuery(sent));
      }),
      { numRuns: 500 },
    );
  });

  it.each(['source', 'summary', 'nested'])(
    'refuses a request whose %s is nested deeper than the stack',
    async (name) => {
      const depth = 20_000;
      const deep = JSON.parse(`{"${name}":${'{"a":'.repeat(depth)}null${'}'.repeat(depth)}}`);
      await expect(parsePatch(await booking(), deep)).rejects.toMatchObject({ code: 'invalid_request' });
      await expect(parseDesired({ ...body, ...deep })).rejects.toMatchObject({ code: 'invalid_request' });
    },
  );

  it('reports a required field that is missing', async () => {
    await expect(parseDesired({})).rejects.toMatchObject({
      problems: ['summary', 'start', 'end'].map((field) => ({ field, message: 'It is missing.' })),
    });
  });

  it('reports all unknown fields without echoing values', async () => {
    const problem = (field: string, message: string) => ({ code: 'invalid_field', field, message });
    const guest = { email: 'ada@example.com', phone: 'secret' };
    const sent = { ...body, colour: 'secret', constructor: 1, attendees: [guest], visibility: 'secret' };
    await expect(parseDesired(sent)).rejects.toMatchObject({
      problems: [
        problem('attendees.0.phone', 'There is no such field.'),
        problem('visibility', 'It must be one of default, public, private, confidential.'),
        problem('colour, constructor', 'There is no such field.'),
      ],
    });
    const query = async () => parseListQuery({ limit: '0.5', from: '2027-02-29T10:00:00Z' });
    await expect(query()).rejects.toMatchObject({
      problems: [
        problem('from', 'It must be a time such as 2026-12-01T10:00:00Z, in a URL with %2B for a plus sign.'),
        problem('limit', 'It must be a whole number from 1 to 100.'),
      ],
    });
  });

  it('an empty patch changes nothing', async () => {
    const stored = await booking();
    const { appointment } = await parsePatch(stored, {});
    expect(appointment).toEqual(stored.appointment);
  });
});

describe('guest addresses', () => {
  const label = 'a'.repeat(63);
  const guest = (email: string) => parseDesired({ ...body, attendees: [{ email }] });

  it.each([
    'ada+calendar@example.com',
    "Ada.O'Neil@Example.COM",
    `${'a'.repeat(64)}@example.com`,
    `ada@${label}.example.com`,
    'ada@xn--bcher-kva.example',
    'ada@example.xn--p1ai',
    'ada@a-b.example.com',
    `${'a'.repeat(64)}@${`${label}.`.repeat(2)}${'a'.repeat(57)}.com`,
  ])('accepts the guest address %s', async (email) => {
    expect((await guest(email)).appointment.details?.attendees).toEqual([{ email }]);
  });

  it.each([
    'ada@example-.com',
    'ada@-example.com',
    `${'a'.repeat(65)}@example.com`,
    `ada@a${label}.example.com`,
    `${'a'.repeat(64)}@${`${label}.`.repeat(2)}${'a'.repeat(58)}.com`,
    ' ada@example.com',
    'Ada <ada@example.com>',
    'ada..b@example.com',
    '.ada@example.com',
    'ada.@example.com',
    'ada@localhost',
    '"ada"@example.com',
    'ada@[127.0.0.1]',
    'ada@example.c',
    'ada@example.123',
    '',
  ])('refuses the guest address %s', async (email) => {
    await expect(guest(email)).rejects.toMatchObject({
      code: 'invalid_request',
      problems: [{ code: 'invalid_field', field: 'attendees.0.email' }],
    });
  });

  it('counts a guest once in any letter case, also for the limit of 200', async () => {
    const many = Array.from({ length: 200 }, (_, index) => ({ email: `guest${index}@example.com` }));
    const twice = [...many, ...many.map(({ email }) => ({ email: email.toUpperCase(), optional: true }))];
    const { appointment } = await parseDesired({ ...body, attendees: twice });
    expect(appointment.details?.attendees).toEqual(many);
  });
});

describe('texts of a booking', () => {
  it('limits texts of a booking as they are encoded for Google', async () => {
    await expect(parseDesired({ ...body, description: '&'.repeat(8192) })).rejects.toMatchObject({
      problems: [
        { field: 'description', message: expect.stringContaining('where "&" counts as 5 and "<" as 4') },
      ],
    });
    const description = '&'.repeat(1638);
    expect((await parseDesired({ ...body, description })).appointment.description).toBe(description);
  });

  it('accepts only true and false for guest permissions', async () => {
    const names = ['guestsCanSeeOtherGuests', 'guestsCanInviteOthers', 'guestsCanModify'];
    for (const name of names) {
      for (const value of [true, false])
        expect((await parseDesired({ ...body, [name]: value })).appointment.details).toEqual({
          [name]: value,
        });
      await expect(parseDesired({ ...body, [name]: 'no' })).rejects.toMatchObject({
        problems: [{ field: name }],
      });
    }
  });
});
