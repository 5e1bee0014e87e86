const userinfo = 'https://www.googleapis.com/auth/userinfo.';
const calendarScope = 'https://www.googleapis.com/auth/calendar';

/** Sign-in scopes are granted with the account itself and never get a box on the consent page. */
export function isSignInScope(scope: string): boolean {
  return ['openid', 'email', 'profile', `${userinfo}email`, `${userinfo}profile`].includes(scope);
}

/** Google returns the short names of two sign-in scopes in full. */
export function expandScope(scope: string): string {
  return scope === 'email' || scope === 'profile' ? `${userinfo}${scope}` : scope;
}

/** Description of a scope on the consent page; undefined for an unknown scope. */
export function describeScope(scope: string): string | undefined {
  return descriptions[scope.replace(calendarScope, '')] ?? (isSignInScope(scope) ? 'Sign you in' : undefined);
}

const descriptions: Record<string, string> = {
  '': 'See, edit, share and permanently delete all the calendars that you can access',
  '.readonly': 'See and download any calendar that you can access',
  '.events': 'View and edit events on all your calendars',
  '.events.owned': 'See, create, change and delete events on the calendars that you own',
  '.events.readonly': 'View events on all your calendars',
  '.events.owned.readonly': 'See the events on the calendars that you own',
  '.events.public.readonly': 'See the events on public calendars',
  '.events.freebusy': 'See the availability on the calendars that you have access to',
  '.freebusy': 'View your availability in your calendars',
  '.calendarlist': 'See, add and remove the calendars that you are subscribed to',
  '.calendarlist.readonly': 'See the list of calendars that you are subscribed to',
  '.calendars': 'See and change the properties of the calendars that you have access to',
  '.calendars.readonly': 'See the title, time zone and other properties of your calendars',
  '.app.created': 'Make secondary calendars, and see, create, change and delete events on them',
};

const write = ['', '.app.created', '.events', '.events.owned'];
const read = [
  ...write,
  '.events.readonly',
  '.events.freebusy',
  '.events.owned.readonly',
  '.events.public.readonly',
  '.readonly',
];
const list = ['', '.readonly', '.calendarlist', '.calendarlist.readonly'];

/** The scopes that each method of the Calendar API accepts, from the comments in Google's typings. */
const accepted = {
  'events.insert': write,
  'events.patch': write,
  'events.update': write,
  'events.delete': write,
  'events.move': write,
  'events.get': read,
  'events.list': read,
  'freebusy.query': ['', '.readonly', '.freebusy', '.events.freebusy'],
  'calendarList.list': list,
  'calendarList.get': [...list, '.app.created'],
  'calendars.get': ['', '.app.created', '.calendars', '.calendars.readonly', '.readonly'],
  'calendars.delete': ['', '.app.created', '.calendars'],
};

export type CalendarMethod = keyof typeof accepted;

export function allows(method: CalendarMethod, scopes: string[]): boolean {
  return allowedBy(method, scopes).length > 0;
}

/**
 * Whether the scopes that allow the method cover a calendar: some cover only calendars that the account owns.
 * Google's answer otherwise is UNVERIFIED.
 */
export function coversCalendar(method: CalendarMethod, scopes: string[], isOwner: boolean): boolean {
  return isOwner || allowedBy(method, scopes).some((suffix) => !suffix.includes('.owned'));
}

function allowedBy(method: CalendarMethod, scopes: string[]): string[] {
  return accepted[method].filter((suffix) => scopes.includes(`${calendarScope}${suffix}`));
}
