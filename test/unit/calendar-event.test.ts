import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  composeEvent,
  deleteOptions,
  mergeGuests,
  mustReadGuests,
  writeOptions,
} from '../../functions/booking-sync/calendar-event.ts';
import { guestDigests, toProperties, writtenOf } from '../../functions/booking-sync/written-event.ts';
import type {
  Appointment,
  Booking,
  CalendarState,
  EventSnapshot,
  WrittenEvent,
} from '../../shared/booking/booking.ts';
import type { EventDetails } from '../../shared/booking/event-details.ts';
import type { CalendarEvent } from '../../shared/google/calendar.ts';

const appointment: Appointment = {
  summary: 'First meeting',
  location: 'Room 1',
  description: 'Ada & Ben',
  start: { dateTime: '2027-01-15T10:00:00', timeZone: 'Europe/Berlin' },
  end: { dateTime: '2027-01-15T11:00:00', timeZone: 'Europe/Berlin' },
  startsAt: Date.UTC(2027, 0, 15, 9) / 1000,
  endsAt: Date.UTC(2027, 0, 15, 10) / 1000,
};
const details: Required<Omit<EventDetails, 'meet' | 'sendUpdates'>> = {
  attendees: [{ email: 'ben@example.com', displayName: 'Ben' }],
  guestsCanSeeOtherGuests: false,
  guestsCanInviteOthers: false,
  guestsCanModify: true,
  reminders: [{ method: 'popup', minutes: 30 }],
  colorId: '7',
  visibility: 'private',
  transparency: 'transparent',
  source: { title: 'LeadsCalendar', url: 'https://leads.example.com/b1' },
};
const bookingOf = (change: Partial<Appointment> = {}, rest: Partial<Booking> = {}): Booking => ({
  schemaVersion: 1,
  calendar: { kind: 'absent' },
  bookingId: 'b1',
  status: 'pending',
  appointment: { ...appointment, ...change },
  revision: 1,
  payments: {},
  problems: [],
  eventNumber: 0,
  timeline: [],
  createdAt: '',
  updatedAt: '',
  version: 1,
  ...rest,
});
const present = (written: WrittenEvent | undefined, change: Partial<EventSnapshot> = {}): CalendarState => ({
  kind: 'present',
  event: {
    calendarId: 'primary',
    eventId: 'e',
    etag: '"1"',
    htmlLink: '',
    revision: 1,
    ...(written ? { written } : {}),
    ...change,
  },
});
const requestId = 'r';
const inserted = (booking: Booking, presence: 'confirmed' | 'tentative' = 'confirmed') =>
  composeEvent(booking, presence, { requestId, written: { fields: {}, guests: {}, refused: {} } });
const eventWith = (properties: Record<string, string>): CalendarEvent => ({
  id: 'e',
  etag: '"1"',
  status: 'confirmed',
  htmlLink: '',
  extendedProperties: { private: properties },
});
const namesOf = (body: object) => Object.keys(body).filter((name) => name !== 'extendedProperties');

describe('a write of an event', () => {
  it('escapes only the characters of a description that begin markup', () => {
    const description = `Don't be late: <b>"Ada's" & Ben's</b> > https://example.com/?a=1&b=2`;
    expect(inserted(bookingOf({ description })).body.description).toBe(
      `Don't be late: &lt;b>"Ada's" &amp; Ben's&lt;/b> > https://example.com/?a=1&amp;b=2`,
    );
  });

  it('sends a local time with its zone and without an offset', () => {
    expect(inserted(bookingOf()).body.start).toEqual({
      date: null,
      dateTime: '2027-01-15T10:00:00',
      timeZone: 'Europe/Berlin',
    });
  });

  it('omits fields at their default from an insert', () => {
    const { location: _, description: __, ...plain } = appointment;
    const body = inserted({ ...bookingOf(), appointment: plain }).body;
    expect(namesOf(body).sort()).toEqual(['end', 'start', 'status', 'summary']);
  });

  it('updates only the private properties when nothing has changed since the last write', () => {
    const booking = bookingOf({ details });
    const { written } = inserted(booking);
    expect(namesOf(composeEvent(booking, 'confirmed', { requestId, written }).body)).toEqual([]);
  });

  const changes: Record<string, [Partial<Appointment>, string[]]> = {
    summary: [{ summary: 'Second meeting' }, ['summary']],
    location: [{ location: 'Room 2' }, ['location']],
    description: [{ description: 'Only Ada' }, ['description']],
    'start alone': [
      { start: { dateTime: '2027-01-15T10:30:00', timeZone: 'Europe/Berlin' } },
      ['end', 'start'],
    ],
    'end alone': [{ end: { dateTime: '2027-01-15T12:00:00', timeZone: 'Europe/Berlin' } }, ['end', 'start']],
    guests: [{ details: { ...details, attendees: [{ email: 'eve@example.com' }] } }, ['attendees']],
    'guests see each other': [
      { details: { ...details, guestsCanSeeOtherGuests: true } },
      ['guestsCanSeeOtherGuests'],
    ],
    'guests invite': [{ details: { ...details, guestsCanInviteOthers: true } }, ['guestsCanInviteOthers']],
    'guests modify': [{ details: { ...details, guestsCanModify: false } }, ['guestsCanModify']],
    reminders: [{ details: { ...details, reminders: [] } }, ['reminders']],
    colorId: [{ details: { ...details, colorId: '8' } }, ['colorId']],
    visibility: [{ details: { ...details, visibility: 'public' } }, ['visibility']],
    transparency: [{ details: { ...details, transparency: 'opaque' } }, ['transparency']],
    source: [{ details: { ...details, source: { title: 'x', url: 'https://example.com' } } }, ['source']],
    'everything optional': [
      { details: {} },
      [
        'attendees',
        'colorId',
        'guestsCanInviteOthers',
        'guestsCanModify',
        'guestsCanSeeOtherGuests',
        'reminders',
        'source',
        'transparency',
        'visibility',
      ],
    ],
    instants: [{ startsAt: 1, endsAt: 2 }, []],
  };
  it.each(Object.entries(changes))(
    'patches only the fields that the booking changes: %s',
    (_, [change, fields]) => {
      const { written } = inserted(bookingOf({ details }));
      const changed = bookingOf({ details, ...change });
      const { body } = composeEvent(changed, 'confirmed', { requestId, written, guests: [] });
      expect(namesOf(body).sort()).toEqual(fields);
    },
  );

  it('confirming a hold changes only status and guests', () => {
    const booking = bookingOf({ details });
    const held = inserted(booking, 'tentative');
    expect(held.body).not.toHaveProperty('attendees');
    const { body } = composeEvent(booking, 'confirmed', { requestId, written: held.written, guests: [] });
    expect(namesOf(body).sort()).toEqual(['attendees', 'status']);
    expect(body).toMatchObject({ status: 'confirmed', attendees: details.attendees });
  });

  it('without a known last write sends every field, and guests only if the booking has any', () => {
    const { body } = composeEvent(bookingOf(), 'confirmed', { requestId });
    expect(body).toMatchObject({ colorId: null, source: null, visibility: 'default', location: 'Room 1' });
    expect(body).not.toHaveProperty('attendees');
    expect(composeEvent(bookingOf({ details }), 'confirmed', { requestId }).body).toHaveProperty('attendees');
  });

  it('sends no mail for a hold, even if the booking asks for mail', () => {
    const booking = bookingOf({ details: { ...details, sendUpdates: 'all' } });
    const held = { ...booking, calendar: present(undefined, { tentative: true }) };
    const scheduled = { ...booking, calendar: present(undefined) };
    expect(writeOptions(booking, 'tentative').sendUpdates).toBe('none');
    expect(writeOptions(held, 'tentative').sendUpdates).toBe('none');
    expect(writeOptions(held, 'confirmed').sendUpdates).toBe('all');
    expect(deleteOptions(held).sendUpdates).toBe('none');
    expect(deleteOptions(scheduled).sendUpdates).toBe('all');
    const { extendedProperties } = inserted(booking, 'tentative').body;
    expect(deleteOptions(booking, eventWith(extendedProperties.private)).sendUpdates).toBe('none');
    expect(
      deleteOptions(booking, eventWith(inserted(booking).body.extendedProperties.private)).sendUpdates,
    ).toBe('all');
  });
});

describe('the record of a write', () => {
  const token = fc.stringMatching(/^[\w-]{8}$/);
  const address = fc.stringMatching(/^[\w-]{6}$/);
  const entry = fc.stringMatching(/^[\w-]{4}$/);
  const record: fc.Arbitrary<WrittenEvent> = fc.record({
    fields: fc.dictionary(fc.constantFrom('status', 'summary', 'times', 'colorId'), token, {
      noNullPrototype: true,
    }),
    guests: fc.dictionary(address, entry, { maxKeys: 200, noNullPrototype: true }),
    refused: fc.dictionary(fc.constantFrom('meet', 'guests', 'time_zone'), token, { noNullPrototype: true }),
  });

  it('reads the last write back from event properties, also after one with more guests', () => {
    fc.assert(
      fc.property(record, record, (before, now) => {
        const properties = { ...toProperties(before, undefined), ...toProperties(now, before) };
        for (const value of Object.values(properties)) expect(value.length).toBeLessThanOrEqual(1024);
        expect(writtenOf(eventWith(properties))).toEqual(now);
      }),
    );
  });

  it('stores no guest in event properties, and one property for events without guests', () => {
    const { private: properties } = inserted(bookingOf({ details })).body.extendedProperties;
    expect(JSON.stringify(properties)).not.toMatch(/ben|example\.com/i);
    expect(Object.keys(inserted(bookingOf()).body.extendedProperties.private)).toEqual([
      'leadscalendar',
      'leadscalendarBooking',
      'leadscalendarRevision',
      'leadscalendarFields',
    ]);
  });
});

describe('guests of an event', () => {
  const answered = [
    { email: 'Ada@example.com', responseStatus: 'accepted', comment: 'Looking forward', additionalGuests: 1 },
    { email: 'ben@example.com', responseStatus: 'declined', displayName: 'Ben' },
    { email: 'colleague@example.com', responseStatus: 'accepted', optional: true },
  ];
  const ours = [{ email: 'ada@example.com' }, { email: 'ben@example.com', displayName: 'Ben' }];
  const before = guestDigests('b1', ours);
  const merged = (guests: { email: string; displayName?: string; optional?: boolean }[]) =>
    mergeGuests('b1', answered, guests, before);

  it('keeps existing guest entries complete when the booking adds a guest', () => {
    expect(merged([...ours, { email: 'eve@example.com' }])).toEqual([
      ...answered,
      { email: 'eve@example.com' },
    ]);
  });

  it('removes a guest only when the booking drops them', () => {
    expect(merged([{ email: 'ADA@example.com' }])).toEqual([answered[0], answered[2]]);
    expect(merged([])).toEqual([answered[2]]);
  });

  it("keeps a guest's answer when the booking changes the name", () => {
    const [ada, ben] = ours;
    expect(
      merged([ada as { email: string }, { ...ben, email: 'ben@example.com', displayName: 'Benjamin' }]),
    ).toEqual([answered[0], { ...answered[1], displayName: 'Benjamin' }, answered[2]]);
  });

  it('does not invite a guest again after the owner removed the guest', () => {
    expect(mergeGuests('b1', answered.slice(1), [...ours, { email: 'eve@example.com' }], before)).toEqual([
      ...answered.slice(1),
      { email: 'eve@example.com' },
    ]);
  });

  it('reads guests before changing them, except for a hold that never had any', () => {
    const booking = bookingOf({ details });
    const held = inserted(booking, 'tentative').written;
    const scheduled = inserted(booking).written;
    const observed = (written: WrittenEvent | undefined, change: Partial<EventSnapshot> = {}) => ({
      ...booking,
      calendar: present(written, change),
    });
    expect(mustReadGuests(observed(held, { tentative: true }), 'confirmed')).toBe(false);
    expect(mustReadGuests(observed(held, { tentative: true, hasGuests: true }), 'confirmed')).toBe(true);
    expect(mustReadGuests(observed(scheduled, { hasGuests: true }), 'confirmed')).toBe(false);
    expect(mustReadGuests(observed(undefined), 'confirmed')).toBe(true);
    const dropped = {
      ...observed(scheduled, { hasGuests: true }),
      appointment: { ...appointment, details: {} },
    };
    expect(mustReadGuests(dropped, 'confirmed')).toBe(true);
  });
});
