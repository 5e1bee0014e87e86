/** What owners, guests and administrators do at Google. */
import { deleteEvent, moveEvent, patchEvent } from '../../infra/local/google/event-store.ts';
import {
  type Account,
  accessRole,
  type Calendar,
  deleteCalendar,
  findAccount,
  findCalendar,
  type StoredEvent,
} from '../../infra/local/google/state.ts';
import type { Truth } from './played-scenario.ts';
import { recordedEvent } from './stored-booking.ts';
import type { UserAction } from './user-actions.ts';
import type { World } from './world.ts';

export const sharedCalendar = 'shared@group.calendar.google.com';
/** A guest that the owner adds in Google Calendar. */
export const colleague = 'colleague@example.com';
/** What the owner writes into an event. */
export const ownNote = 'Bring the blue folder.';

/** The events of a booking that exist. */
export function eventsOfBooking(world: World, booking: string): StoredEvent[] {
  return world.google
    .events()
    .filter(({ resource }) => resource.extendedProperties?.private?.leadscalendarBooking === booking);
}

/** The calendars of an account that a user may choose, by the name that actions give them. */
export function calendarNamed(
  world: World,
  account: string,
  name: 'primary' | 'second' | 'shared',
): string | undefined {
  if (name === 'primary') return 'primary';
  if (name === 'shared') return sharedCalendar;
  const own = [...world.google.state.calendars.values()].filter(({ owner }) => owner === account);
  return own.find(({ primary }) => !primary)?.id;
}

type EventAction = Extract<
  UserAction,
  { do: 'delete by hand' | 'edit by hand' | 'guests respond' | 'owner invites' | 'move by hand' }
>;

export function changeEvent(world: World, truth: Truth, action: EventAction): void {
  const { state } = world.google;
  const event = eventsOfBooking(world, action.booking)[0];
  const calendar = event && state.calendars.get(event.calendarId);
  if (!event || !calendar) return;
  const account = findAccount(state, calendar.owner) as Account;
  const place = { state, account, calendar };
  const { id, attendees = [] } = event.resource;
  switch (action.do) {
    case 'delete by hand':
      truth.deletedByHand.add(action.booking);
      deleteEvent(place, id, undefined);
      return;
    case 'edit by hand':
      patchEvent(place, id, undefined, { description: ownNote });
      return;
    case 'guests respond': {
      const answered = attendees.map((guest, at) => ({
        ...guest,
        responseStatus: at % 2 === 0 ? 'accepted' : 'declined',
      }));
      patchEvent(place, id, undefined, { attendees: answered });
      return;
    }
    case 'owner invites': {
      const others = attendees.filter(({ email }) => email !== colleague);
      const added = { email: colleague, responseStatus: 'accepted' };
      patchEvent(place, id, undefined, { attendees: [...others, added] });
      return;
    }
    case 'move by hand': {
      const other = [...state.calendars.values()].find(
        ({ id: to, owner }) => owner === calendar.owner && to !== calendar.id,
      );
      // One that is not on record yet is minutes old.
      const stored = world.bookings().find(({ bookingId }) => bookingId === action.booking);
      if (!other || !stored || recordedEvent(stored)?.eventId !== id) return;
      truth.movedByHand.add(action.booking);
      moveEvent(place, id, other);
    }
  }
}

/** Switches Google Calendar off or on for an account. */
export function switchCalendar(world: World, account: string, to: 'off' | 'on'): void {
  const { state } = world.google;
  const { calendarIsOff: _, ...switched } = findAccount(state, account) as Account;
  state.accounts.set(account, to === 'off' ? { ...switched, calendarIsOff: true } : switched);
}

/** Shares the calendar of another account with an account, in another role than before or not at all. */
export function share(world: World, account: string, role: 'reader' | 'writer' | 'none'): void {
  const { calendars } = world.google.state;
  const shared = calendars.get(sharedCalendar);
  if (!shared) return;
  const { [account]: _, ...others } = shared.sharedWith ?? {};
  const sharedWith = role === 'none' ? others : { ...others, [account]: role };
  calendars.set(sharedCalendar, { ...shared, sharedWith });
}

/** A calendar of an account without a user, shared with each account. */
export function addSharedCalendar(world: World, accounts: string[]): void {
  const calendar: Calendar = {
    id: sharedCalendar,
    summary: 'Shared',
    timeZone: 'Europe/Vienna',
    owner: 'eve',
    primary: false,
    sharedWith: Object.fromEntries(accounts.map((account) => [account, 'writer'])),
  };
  world.google.state.calendars.set(sharedCalendar, calendar);
}

export function deleteSecondCalendar(world: World, truth: Truth, account: string): void {
  const { state } = world.google;
  const id = calendarNamed(world, account, 'second');
  const calendar = id === undefined ? undefined : state.calendars.get(id);
  if (!calendar) return;
  truth.deletedCalendars.add(calendar.id);
  deleteCalendar(state, calendar);
}

/** What stood in the way at Google is gone: Calendar is on, what was shared is shared again. */
export function clearObstacles(world: World, accounts: string[]): void {
  for (const account of accounts) {
    switchCalendar(world, account, 'on');
    share(world, account, 'writer');
  }
}

/** Whether an account may write to a calendar. */
export function mayWrite(world: World, account: string, calendarId: string): boolean {
  const calendar = findCalendar(world.google.state, account, calendarId);
  const role = calendar && accessRole(calendar, account);
  return role === 'owner' || role === 'writer';
}
