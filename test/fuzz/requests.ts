/** Requests to each endpoint: nearly valid ones, and some that are random. */
import fc from 'fast-check';
import { type ProviderName, providers } from '../../functions/payment-confirmed/providers.ts';
import { routes, webhookRoute } from '../../shared/lib/names.ts';
import { webhooks } from '../fixtures/webhooks.ts';
import {
  type Signing,
  type State,
  signings,
  soundStates,
  states,
  type Token,
  tokens,
} from './credentials.ts';
import { anyTextsIn } from './payment-texts.ts';
import { json, moments, tampered, texts, zones } from './values.ts';

/**
 * A request as data: all of it is JSON, so that it can be stored and sent again. Parts that depend on time or a
 * secret are described and made when it is sent; `@token`, `@state` and `@code` in the query stand for them.
 */
export type Case = {
  endpoint: string;
  method: string;
  path: string;
  query: string;
  headers: [string, string][];
  body: string;
  /** The body in base64, if it is not text. */
  bytes?: string;
  bearer?: Token;
  link?: Token;
  signing?: Signing & { provider: ProviderName };
  state?: State;
  /** The user's path through Google's pages to a code. */
  consent?: 'allow' | 'box not ticked' | 'another attempt';
  /** The only correct status, if known. */
  status?: number;
  /** Wrong statements in the event of the function. */
  lie?: 'is base64' | 'is no base64' | 'nothing optional' | 'everything twice';
};

const words = (text: string): string[] => text.split(' ');

const headerNames = [
  ...words('accept content-type content-encoding transfer-encoding content-length host if-match'),
  ...words('authorization cookie x-forwarded-for x-http-method-override stripe-signature'),
  ...words('webhook-id webhook-timestamp webhook-signature svix-signature __proto__ constructor toString'),
  '',
];
const header: fc.Arbitrary<[string, string]> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constantFrom(...headerNames), texts) },
  { weight: 1, arbitrary: fc.tuple(texts, texts) },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constant('accept'), fc.constantFrom('text/html', '*/*', 'text/html;q=0')),
  },
);
const noise = fc.oneof(
  { weight: 6, arbitrary: fc.constant([]) },
  { weight: 2, arbitrary: fc.array(header, { minLength: 1, maxLength: 4 }) },
);
const lies: fc.Arbitrary<Pick<Case, 'lie'>> = fc.oneof(
  { weight: 12, arbitrary: fc.constant({}) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom(
        'is base64' as const,
        'is no base64' as const,
        'nothing optional' as const,
        'everything twice' as const,
      )
      .map((lie) => ({ lie })),
  },
);
const accepts = fc.constantFrom<[string, string][]>([], [['accept', 'text/html,*/*']]);
const bodies = fc.oneof(
  json.map((body) => ({ body })),
  texts.map((body) => ({ body })),
  fc
    .uint8Array({ maxLength: 300 })
    .map((bytes) => ({ body: '', bytes: Buffer.from(bytes).toString('base64') })),
);

/** `name=value&…`, at times with a changed value, a repeated name, or an invalid query. */
function queries(bases: Record<string, string>[], extra: string[]): fc.Arbitrary<string> {
  const values = fc.oneof(
    { weight: 2, arbitrary: fc.constantFrom('', ...extra) },
    { weight: 1, arbitrary: texts },
  );
  const names = [...new Set(bases.flatMap((base) => Object.keys(base))), '__proto__', 'constructor', 'x'];
  const change = fc.tuple(fc.constantFrom('set', 'set', 'again', 'drop'), fc.constantFrom(...names), values);
  return fc.oneof(
    {
      weight: 12,
      arbitrary: fc
        .tuple(fc.constantFrom(...bases), fc.array(change, { maxLength: 2 }))
        .map(([base, changes]) => {
          const query = new URLSearchParams(base);
          for (const [kind, name, value] of changes) {
            if (kind === 'set') query.set(name, value);
            if (kind === 'again') query.append(name, value);
            if (kind === 'drop') query.delete(name);
          }
          return query.toString().replaceAll('%40', '@');
        }),
    },
    {
      weight: 1,
      arbitrary: fc.string({
        unit: fc.constantFrom('&', '=', '%', '+', '%00', '%ff', 'state', 'limit', '@code', '?', ';'),
        maxLength: 12,
      }),
    },
    { weight: 1, arbitrary: texts.map(asPath) },
  );
}

/** As a client has to send it: encodeURI refuses invalid Unicode. */
function asPath(text: string): string {
  return encodeURI(text.toWellFormed());
}

function requests(endpoint: string, parts: fc.Arbitrary<Partial<Case>>): fc.Arbitrary<Case> {
  const [method = '', path = ''] = endpoint.split(' ');
  return fc.tuple(parts, noise, lies).map(([part, more, lie]) => ({
    endpoint,
    method,
    path,
    query: '',
    body: '',
    ...part,
    ...lie,
    headers: [...(part.headers ?? []), ...more],
  }));
}

/** Requests with matching parts, and some with random ones. */
function mixed(parts: fc.Arbitrary<Partial<Case>>): fc.Arbitrary<Partial<Case>> {
  const raw = fc
    .tuple(bodies, fc.oneof(fc.constant(''), texts.map(asPath)), fc.array(header, { maxLength: 5 }))
    .map(([body, query, headers]): Partial<Case> => ({ ...body, query, headers }));
  return fc.oneof({ weight: 7, arbitrary: parts }, { weight: 1, arbitrary: raw });
}

// Webhooks

const webhook = (texts: fc.Arbitrary<string>): fc.Arbitrary<Pick<Case, 'body'> & { bytes?: string }> =>
  fc.oneof(
    { weight: 20, arbitrary: texts.map((body) => ({ body })) },
    // In an encoding that JSON does not have, with a valid signature.
    {
      weight: 1,
      arbitrary: texts.map((body) => ({ body: '', bytes: Buffer.from(body, 'latin1').toString('base64') })),
    },
    {
      weight: 1,
      arbitrary: texts.map((body) => ({
        body: '',
        bytes: Buffer.from(`\ufeff${body}`, 'utf16le').toString('base64'),
      })),
    },
    { weight: 1, arbitrary: bodies },
  );
const contentTypes = fc.constantFrom<[string, string][]>(
  ...Array<[string, string][]>(6).fill([['content-type', 'application/json; charset=utf-8']]),
  [],
  [['content-type', 'application/octet-stream']],
  [
    ['content-type', 'application/json'],
    ['content-type', 'text/plain'],
  ],
);

const sound = { secret: 'ours' as const, skew: 0, stamp: '@', id: 'msg_1' };

/** Requests to the webhook of a provider; of four, one is a correctly signed payment with random texts, which must be accepted. */
function webhookTarget(provider: ProviderName): Target {
  const { events, words, entry, wrongEntries, paymentWith, zoneField } = webhooks[provider];
  const path = webhookRoute(provider);
  const endpoint = `POST ${path}`;
  const payments = anyTextsIn({ zoneField }).map(
    (texts): Case => ({
      endpoint,
      method: 'POST',
      path,
      query: '',
      headers: [],
      body: JSON.stringify(paymentWith(texts)),
      signing: { ...sound, provider, entries: [entry] },
      status: 200,
    }),
  );
  const bodies = webhook(tampered(events, membersOf(events), words));
  const parts = fc
    .tuple(bodies, signings(entry, wrongEntries), contentTypes)
    .map(([body, signing, headers]) => ({ ...body, signing: { ...signing, provider }, headers }));
  return orElse(target(endpoint, 24, mixed(parts)), payments);
}

/** The names of all members of some objects. */
function membersOf(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const own = Array.isArray(value) ? [] : Object.keys(value);
  return [...new Set([...own, ...Object.values(value).flatMap(membersOf)])];
}

// API of LeadsCalendar's backend

const bearing = (parts: fc.Arbitrary<Partial<Case>>): fc.Arbitrary<Partial<Case>> =>
  mixed(fc.tuple(tokens('api'), parts).map(([bearer, part]) => ({ bearer, ...part })));

/** Bookings that exist before each request. */
export const heldBookings = [
  'declared',
  'held',
  'scheduled',
  'whole-days',
  'detailed',
  'waiting',
  'cancelled',
  'failed',
  'ownerless',
  'bens',
];
const bookingIds = fc.oneof(
  { weight: 10, arbitrary: fc.constantFrom(...heldBookings) },
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      'new-1',
      'new:2@x',
      'a'.repeat(128),
      'a'.repeat(129),
      '.',
      '..',
      '%2e%2e',
      'a%2Fb',
      '%00',
      '%',
      '%ff',
      'me/x',
    ),
  },
  { weight: 1, arbitrary: texts.map(asSegment) },
);
function asSegment(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

export const details = {
  attendees: [{ email: 'guest@example.com', displayName: 'Guest', optional: true }],
  sendUpdates: 'all',
  meet: true,
  reminders: [{ method: 'popup', minutes: 10 }],
  colorId: '11',
  visibility: 'private',
  transparency: 'transparent',
  source: { title: 'Offer', url: 'https://example.com/offer' },
};
export const appointment = {
  summary: 'First meeting',
  start: '2027-06-01T10:00:00',
  end: '2027-06-01T11:00:00',
  timeZone: 'Europe/Berlin',
};
const declarations = [
  appointment,
  { ...appointment, location: 'Here', description: 'A & B', hold: true },
  { ...appointment, ...details },
  { summary: 'Retreat', start: '2027-06-01', end: '2027-06-03' },
  { summary: 'Call', start: '2027-06-01T10:00:00+02:00', end: '2027-06-01T10:30:00Z' },
  // An end that leaves room for starts at the limits.
  { ...appointment, start: '1900-01-01T00:00:00', end: '9999-12-29T00:00:00' },
  { summary: 'Ages', start: '0001-01-02', end: '9999-12-30' },
];
const bookingMembers = [
  ...new Set(declarations.flatMap((it) => Object.keys(it))),
  'email',
  'displayName',
  'optional',
  'method',
  'minutes',
  'title',
  'url',
];
const bookingWords = ['Other', ...moments, ...zones.slice(0, -1)];
const patches = [
  {},
  { summary: 'Other' },
  { start: '2027-06-02T10:00:00+02:00', end: '2027-06-02T11:00:00+02:00' },
  { timeZone: 'America/New_York', location: null, description: 'x' },
  { ...details, reminders: [], attendees: [], hold: true },
  { source: { title: 'y' }, meet: null, hold: false },
];

const matches = fc.constantFrom<[string, string][]>(
  ...Array<[string, string][]>(12).fill([]),
  [['if-match', '"1"']],
  [['if-match', '"2", *']],
  [['if-match', '"999"']],
  [
    ['if-match', '"1"'],
    ['if-match', '"2"'],
  ],
  [['if-match', ',"'.repeat(4000)]],
  [['if-match', '']],
);

const booking = (body: fc.Arbitrary<string> = fc.constant('')) =>
  bearing(
    fc.tuple(bookingIds, body, matches, contentTypes).map(([id, text, match, type]) => ({
      path: `/bookings/${id}`,
      body: text,
      headers: [...match, ...type],
    })),
  );

const listQueries = queries(
  [
    {},
    { limit: '2' },
    { status: 'scheduled', from: '2026-01-01T00:00:00Z', to: '2028-01-01T00:00:00+01:00', limit: '100' },
    { cursor: Buffer.from('[1811836800,"declared"]').toString('base64url') },
    { cursor: Buffer.from('[1811836800,"declared"]').toString('base64url'), from: '2000-01-01T00:00:00Z' },
  ],
  [
    ...[
      '1',
      '0',
      '101',
      '1.5',
      '1e2',
      '0x10',
      ' 5 ',
      'Infinity',
      'NaN',
      '-1',
      'pending',
      'deleted_by_user',
      'constructor',
    ],
    ...moments,
    ...[
      '[-1,"a"]',
      '[1e308,"a"]',
      '[1,"__proto__"]',
      '[9007199254740993,"a"]',
      '[[]]',
      `[1,"${'a'.repeat(500)}"]`,
    ].map((cursor) => Buffer.from(cursor).toString('base64url')),
  ],
);

const changes = tampered(
  [{ calendarId: 'primary' }, { calendarId: 'ada@example.com' }, {}],
  ['calendarId', 'timeZone'],
  [
    ...zones.slice(0, -1),
    'ada@example.com',
    'nobody@example.com',
    'a/b',
    'a?b#c',
    'x'.repeat(254),
    'x'.repeat(255),
  ],
);

// Browsers

const cookies = fc.constantFrom<[string, string][]>(
  ...Array<[string, string][]>(8).fill([['cookie', `__Host-leadscalendar-connect=${'b'.repeat(43)}`]]),
  [],
  [['cookie', `__Host-leadscalendar-connect=${'c'.repeat(43)}`]],
  [['cookie', `__Host-leadscalendar-connect=x; __Host-leadscalendar-connect=${'b'.repeat(43)}`]],
  [['cookie', `a=b;;;${'x'.repeat(8000)}; leadscalendar-connect=${'b'.repeat(43)}`]],
  [
    ['cookie', '__proto__=1; =; ;'],
    ['cookie', `__Host-leadscalendar-connect=${'b'.repeat(43)}`],
  ],
);
const returns = [
  'https://app.example.com/x',
  'https://app.example.com@evil.example',
  '//app.example.com',
  'https://app.example.com\\@evil.example',
  'javascript:fuzz',
  'https://a:b@app.example.com/',
  'HTTPS://APP.EXAMPLE.COM',
  'https://app.example.com/\r\nx: y',
  `https://app.example.com/${'x'.repeat(9000)}`,
  'https://app.example.com/#<script>',
];

const connects = mixed(
  fc
    .tuple(
      tokens('connect'),
      states,
      cookies,
      accepts,
      queries(
        [
          { token: '@token' },
          { token: '@token' },
          { token: '@token', return_to: returns[0] as string },
          { retry: '@state' },
        ],
        [...returns, '@state', '@token'],
      ),
    )
    .map(([link, state, cookie, accept, query]) => ({ link, state, query, headers: [...cookie, ...accept] })),
);

const callbacks = mixed(
  fc
    .tuple(
      states,
      cookies,
      accepts,
      queries(
        [
          { state: '@state', code: 'no-code' },
          { state: '@state', error: 'access_denied' },
          {
            state: '@state',
            code: '4/0AX',
            scope: 'openid',
            iss: 'https://accounts.google.com',
            authuser: '0',
            prompt: 'consent',
          },
          { code: 'x' },
        ],
        [
          '@state',
          'access_denied',
          'server_error',
          'invalid_request',
          'https://evil.example',
          'openid https://www.googleapis.com/auth/calendar.events.owned',
        ],
      ),
    )
    .map(([state, cookie, accept, query]) => ({ state, query, headers: [...cookie, ...accept] })),
);
/** Callbacks with a code go through all of Google's pages. */
const consents = fc
  .tuple(
    soundStates,
    cookies,
    accepts,
    fc.constantFrom(
      'allow' as const,
      'allow' as const,
      'box not ticked' as const,
      'another attempt' as const,
    ),
  )
  .map(([state, cookie, accept, consent]) => ({
    state,
    consent,
    query: 'state=@state&code=@code',
    headers: [...cookie, ...accept],
  }));

const elsewhere: fc.Arbitrary<Case> = fc
  .tuple(
    fc.constantFrom(
      'GET',
      'HEAD',
      'POST',
      'PUT',
      'PATCH',
      'DELETE',
      'OPTIONS',
      'TRACE',
      'get',
      '__proto__',
      '',
    ),
    fc.oneof(
      fc.constantFrom(
        ...Object.values(routes),
        '/',
        '//',
        '/health/',
        '/HEALTH',
        '/webhooks',
        '/webhooks/stripe/',
        '/bookings/',
        '/bookings//',
        '/connections/me/calendars/x',
        '/%2e%2e/health',
        '/__proto__',
        '/constructor',
      ),
      texts.map((text) => `/${asPath(text)}`),
    ),
    fc.oneof(fc.constant(undefined), tokens('api')),
    bodies,
  )
  .map(([method, path, bearer, body]) => ({
    endpoint: 'elsewhere',
    method,
    path,
    query: '',
    headers: [],
    ...(bearer ? { bearer } : {}),
    ...body,
  }));

const messages = tampered(
  [
    { schemaVersion: 1, type: 'sync', bookingId: 'scheduled', userId: 'ada-user', cause: 'x' },
    { schemaVersion: 1, type: 'sync', bookingId: 'nothing', cause: 'x' },
    { schemaVersion: 1, type: 'connection.activated', userId: 'new-user', tokenVersion: 1, page: 0 },
    {
      schemaVersion: 1,
      type: 'payment',
      paymentId: 'standard:order-9',
      eventId: 'evt_9',
      facts: { refundedTotal: 1 },
    },
    {
      schemaVersion: 1,
      type: 'payment',
      paymentId: 'standard:order-9',
      eventId: 'evt_9',
      facts: { confirmedAt: '2026-11-01T10:00:00Z', amount: 1 },
      booking: { bookingId: 'new-1', userId: 'gone-user', problems: [] },
    },
  ],
  [
    'schemaVersion',
    'type',
    'bookingId',
    'userId',
    'cause',
    'tokenVersion',
    'page',
    'after',
    'paymentId',
    'eventId',
    'facts',
    'problems',
    'confirmedAt',
    'amount',
    'refundedTotal',
  ],
  ['payment', 'sync', 'connection.activated'],
);

/** An endpoint, its weight, and its cases. */
export type Target = { endpoint: string; weight: number; cases: fc.Arbitrary<Case> };

const target = (endpoint: string, weight: number, parts: fc.Arbitrary<Partial<Case>>): Target => ({
  endpoint,
  weight,
  cases: requests(endpoint, parts),
});

/** Of a target, one request in four is one of `others`. */
const orElse = (main: Target, others: fc.Arbitrary<Case>): Target => ({
  ...main,
  cases: fc.oneof({ weight: 3, arbitrary: main.cases }, { weight: 1, arbitrary: others }),
});

export const targets: Target[] = [
  ...providers.map(({ name }) => webhookTarget(name)),
  target(`GET ${routes.connect}`, 16, connects),
  target(
    `GET ${routes.callback}`,
    8,
    fc.oneof({ weight: 30, arbitrary: callbacks }, { weight: 1, arbitrary: consents }),
  ),
  target(`GET ${routes.connection}`, 4, bearing(fc.constant({}))),
  target(
    `PATCH ${routes.connection}`,
    3,
    bearing(fc.tuple(changes, contentTypes).map(([body, headers]) => ({ body, headers }))),
  ),
  target(`DELETE ${routes.connection}`, 1, bearing(bodies)),
  target(`GET ${routes.calendars}`, 1, bearing(fc.constant({}))),
  target(`PUT ${routes.booking}`, 16, booking(tampered(declarations, bookingMembers, bookingWords))),
  target(`PATCH ${routes.booking}`, 10, booking(tampered(patches, bookingMembers, bookingWords))),
  target(`GET ${routes.booking}`, 5, booking()),
  target(`DELETE ${routes.booking}`, 2, booking()),
  target(`GET ${routes.bookings}`, 6, bearing(listQueries.map((query) => ({ query })))),
  target(`GET ${routes.health}`, 1, mixed(fc.constant({}))),
  { endpoint: 'elsewhere', weight: 6, cases: elsewhere },
  target(
    'queue',
    2,
    fc.oneof(
      { weight: 6, arbitrary: messages.map((body) => ({ body })) },
      { weight: 1, arbitrary: texts.map((body) => ({ body })) },
    ),
  ),
];
