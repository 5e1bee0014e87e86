/** Sends a case to its handler and checks the outcome. */
import * as v from 'valibot';
import { parseBookingMessage } from '../../functions/booking-sync/read-message.ts';
import { matchRoute } from '../../infra/local/aws/http-api.ts';
import { toEvent, toResponse } from '../../infra/local/aws/http-payload.ts';
import { openApi } from '../../infra/openapi.ts';
import { operations, schemas } from '../../infra/operations.ts';
import type { PaymentReported } from '../../shared/booking/queue.ts';
import { splitMac } from '../../shared/crypto/payment-mac.ts';
import { type bookingSchema, errorSchema } from '../../shared/http/api-schemas.ts';
import type { HttpRequest } from '../../shared/http/http.ts';
import { routes } from '../../shared/lib/names.ts';
import { makeState, makeToken, signatureHeaders } from './credentials.ts';
import type { Case } from './requests.ts';
import { publicUrl, returnOrigin, type Service, sentIn, tableNames, type Write } from './service.ts';

/** Outcome of a case: its status, and its code if it was refused. */
export type Verdict = { status: number; code: string; ms: number };

/** Time limit of every answer in milliseconds. */
const patience = 1000;

/** The schema of the answer, by endpoint. */
const success: Record<string, v.GenericSchema> = Object.fromEntries(
  operations.flatMap(({ method, route, success: answers }) => {
    const name = answers[200]?.schema;
    return name && name !== 'BookingPatch' ? [[`${method} ${route}`, schemas[name]]] : [];
  }),
);
const browserEndpoints = [`GET ${routes.connect}`, `GET ${routes.callback}`];

/** Codes that docs/openapi.json allows, by endpoint and status. */
export const documented: ReadonlyMap<string, ReadonlyMap<number, readonly string[]>> = new Map(
  Object.entries(openApi().paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { responses }]): [string, Map<number, string[]>] => [
      `${method.toUpperCase()} ${path}`,
      new Map(
        Object.entries(responses).map(([status, { description }]) => [
          Number(status),
          [...description.matchAll(/`(\w+)`/g)].map(([, code]) => code as string),
        ]),
      ),
    ]),
  ),
);

class Finding extends Error {
  override readonly name = 'Finding';
}
const expectThat = (holds: boolean, otherwise: () => string): void => {
  if (!holds) throw new Finding(otherwise());
};

const wrongIn = ({ issues }: v.SafeParseResult<v.GenericSchema>): string =>
  issues ? v.summarize(issues) : '';

type Sent = { routeKey: string; event: HttpRequest; credentials: string[] };

/**
 * The event that the gateway would make of a case; undefined if the gateway itself answers that there is no route.
 */
export async function eventOf(service: Service, request: Case): Promise<Sent | undefined> {
  const { keys } = service;
  const now = Math.floor(Date.now() / 1000);
  const body = request.bytes === undefined ? Buffer.from(request.body) : Buffer.from(request.bytes, 'base64');
  const bearer = request.bearer && makeToken(request.bearer, keys.api, now);
  const link = request.link && makeToken(request.link, keys.links, now);
  const state = request.state && (await makeState(request.state, keys, now));
  const code = state && request.consent ? await service.codeFor(state, request.consent) : 'no-code';
  const encoded = (text = ''): string => encodeURIComponent(text.toWellFormed());
  const query = request.query
    .replaceAll('@token', encoded(link))
    .replaceAll('@state', encoded(state))
    .replaceAll('@code', encoded(code));
  const headers: [string, string][] = [
    ...(bearer === undefined ? [] : [['authorization', `Bearer ${bearer}`] satisfies [string, string]]),
    ...(request.signing ? signatureHeaders(request.signing, body, keys, now) : []),
    ...request.headers,
  ];
  const target = query ? `${request.path}?${query}` : request.path;
  const all = request.lie === 'everything twice' ? [...headers, ...headers] : headers;
  const route = matchRoute(service.routes, request.method, request.path.split('?')[0] as string);
  if (!route) return undefined;
  const event = toEvent(
    { method: request.method, target, rawHeaders: all.flat(), body, sourceIp: '192.0.2.1' },
    route,
    {
      requestId: 'fuzz',
      apiId: 'fuzz',
      accountId: '000000000000',
      now: new Date(now * 1000),
    },
  );
  if (request.lie === 'is base64') event.isBase64Encoded = true;
  if (request.lie === 'is no base64') event.isBase64Encoded = false;
  if (request.lie === 'nothing optional') {
    delete event.body;
    delete event.cookies;
    delete event.queryStringParameters;
    delete event.pathParameters;
  }
  // A corrupted token may be any text, and then is no secret.
  const sound = [request.bearer?.damage ? undefined : bearer, request.link?.damage ? undefined : link];
  return { routeKey: route.routeKey, event, credentials: sound.filter((it) => it !== undefined) };
}

/**
 * Sends a case, and throws a finding for a forbidden effect. Restores all changes, so that every case meets the
 * same tables.
 */
export async function check(service: Service, request: Case): Promise<Verdict> {
  if (request.endpoint === 'queue') return checkMessage(service, request);
  const sent = await eventOf(service, request);
  if (!sent) return { status: 404, code: '(no route)', ms: 0 };
  let done = await send(service, sent);
  try {
    for (let again = 0; done.ms > patience && again < 2; again++) {
      await service.restore(done.writes);
      done = await send(service, sent);
    }
    expectThat(done.ms <= patience, () => `The answer took ${Math.round(done.ms)} ms, three times.`);
    const verdict = checkAnswer(service, sent, done);
    expectThat(
      request.status === undefined || verdict.status === request.status,
      () => `Answered ${verdict.status} ${verdict.code}, and only ${request.status} is right.`,
    );
    if (verdict.status < 400) await followUp(service, request, sent, done);
    return { ...verdict, ms: done.ms };
  } finally {
    await putBack(service, sent.routeKey, done.writes);
  }
}

type Done = Awaited<ReturnType<Service['call']>>;

/** Missing answers are found too: the case ends then, but keeps what it holds. */
async function send(service: Service, { routeKey, event }: Sent): Promise<Done> {
  let timer: NodeJS.Timeout | undefined;
  const never = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Finding('No answer within 20 seconds.')), 20_000);
  });
  try {
    return await Promise.race([service.call(routeKey, event), never]);
  } catch (error) {
    if (error instanceof Finding) throw error;
    throw new Finding(`The handler threw: ${error instanceof Error ? error.stack : error}`);
  } finally {
    clearTimeout(timer);
  }
}

async function putBack(service: Service, routeKey: string, writes: Write[]): Promise<void> {
  await service.restore(writes);
  // Its grant ended at Google too.
  if (routeKey !== `DELETE ${routes.connection}`) return;
  for (const { input } of writes) {
    const userId = (input as { Item?: { userId?: { S?: string } } }).Item?.userId?.S;
    if (userId === 'ada-user' || userId === 'ben-user') await service.reconnect(userId);
  }
}

/** The callback counts the codes of a link before it redeems one. */
function isCountOfAttempts({ operation, input }: Write): boolean {
  const key = (input as { Key?: { userId?: { S?: string } } }).Key?.userId?.S;
  return operation === 'UpdateItemCommand' && key?.startsWith('link#') === true;
}

function checkAnswer(
  service: Service,
  { routeKey, event, credentials }: Sent,
  { answer, writes, lines }: Done,
): { status: number; code: string } {
  const wire = toResponse(answer);
  expectThat(
    wire !== undefined,
    () => `The gateway cannot send this answer: ${JSON.stringify(answer).slice(0, 500)}`,
  );
  const { statusCode: status, headers, body } = wire as NonNullable<typeof wire>;
  const text = body.toString('utf8');
  const header = (name: string): string => headers.find(([known]) => known === name)?.[1] ?? '';
  const seen = () => `${status} ${text.slice(0, 600)}\n${lines.join('').slice(0, 1500)}`;

  expectThat(status < 500 || isOperators(routeKey, status, text, lines), () => `Answered ${seen()}`);
  const unforeseen = lines.some((line) => line.includes('Appointment of a payment could not be read'));
  expectThat(!unforeseen, () => `Reading a payment threw: ${seen()}`);
  const codes = documented.get(routeKey)?.get(status);
  expectThat(codes !== undefined, () => `The status is not documented: ${seen()}`);
  const all = [text, JSON.stringify(headers), ...lines].join('\n');
  for (const secret of [...service.secrets(), ...credentials]) {
    expectThat(!all.includes(secret), () => `A secret can be seen: ${secret.slice(0, 6)}… in ${seen()}`);
  }
  if (routeKey !== `GET ${routes.health}`) checkHeaders(header, seen);
  if (status < 400) {
    if (success[routeKey]) {
      const parsed = v.safeParse(success[routeKey], JSON.parse(text));
      expectThat(parsed.success, () => `Not as documented: ${wrongIn(parsed)} ${seen()}`);
    }
    if (status === 302) checkRedirect(routeKey, header('location'), seen);
    return { status, code: '' };
  }
  const changes = writes.filter(
    (write) => routeKey !== `GET ${routes.callback}` || !isCountOfAttempts(write),
  );
  expectThat(
    changes.length === 0,
    () => `Refused, and yet ${changes.map(({ operation }) => operation)} was sent: ${seen()}`,
  );
  if (browserEndpoints.includes(routeKey) && (event.headers.accept ?? '').includes('text/html')) {
    expectThat(header('content-type').startsWith('text/html'), () => `No page for a browser: ${seen()}`);
    expectThat(
      header('content-security-policy').includes("default-src 'none'") &&
        header('x-frame-options') === 'DENY',
      () => `A page that is not fenced in: ${seen()}`,
    );
    expectThat(
      !/<script|<img|onerror=/i.test(text.replaceAll(/&[a-z0-9#]+;/g, '')),
      () => `Markup of the request on the page: ${seen()}`,
    );
    const code = /<code>(\w+)<\/code>/.exec(text)?.[1] ?? '';
    expectThat(
      codes?.includes(code) ?? false,
      () => `The code ${code} is not documented for ${status}: ${seen()}`,
    );
    return { status, code };
  }
  expectThat(header('content-type') === 'application/problem+json', () => `No problem+json: ${seen()}`);
  const problem = v.safeParse(errorSchema, JSON.parse(text));
  expectThat(problem.success, () => `Not as documented: ${wrongIn(problem)} ${seen()}`);
  const { code, status: stated } = problem.output as v.InferOutput<typeof errorSchema>;
  expectThat(stated === status, () => `Two statuses: ${seen()}`);
  expectThat(
    codes?.includes(code) ?? false,
    () => `The code ${code} is not documented for ${status}: ${seen()}`,
  );
  return { status, code };
}

const security = {
  'cache-control': 'no-store',
  'strict-transport-security': 'max-age=63072000; includeSubDomains',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
};

function checkHeaders(header: (name: string) => string, seen: () => string): void {
  for (const [name, value] of Object.entries(security)) {
    expectThat(header(name) === value, () => `The header ${name} is "${header(name)}": ${seen()}`);
  }
}

function checkRedirect(routeKey: string, location: string, seen: () => string): void {
  const { origin, pathname } = new URL(location);
  const isHome = routeKey === `GET ${routes.callback}` && origin === returnOrigin;
  const isGoogle =
    routeKey === `GET ${routes.connect}` && pathname === '/o/oauth2/v2/auth' && origin !== publicUrl;
  expectThat(isHome || isGoogle, () => `Sent to ${location.slice(0, 200)}: ${seen()}`);
}

/** A fixed sample of accepted requests is followed to its end, so that a finding is reproducible. */
const sample = 24;
const isSampled = (request: Case, one: number): boolean => JSON.stringify(request).length % one === 0;

/** Accepted requests must have an effect: messages must sync, bookings must be readable and listed. */
async function followUp(
  service: Service,
  request: Case,
  { routeKey, event }: Sent,
  { answer, writes }: Done,
): Promise<void> {
  const messages = sentIn(writes);
  for (const message of messages) parse(message);
  if (routeKey.startsWith('POST /webhooks/')) {
    const ignored = 'ignored' in JSON.parse((answer as { body: string }).body);
    expectThat(
      messages.length === (ignored ? 0 : 1) && writes.length === messages.length,
      () => `Answered 200 with ${messages.length} messages: ${JSON.stringify(answer)}`,
    );
  }
  const isBooking = routeKey === `PUT ${routes.booking}` || routeKey === `PATCH ${routes.booking}`;
  if (isBooking && isSampled(request, 3)) await followBooking(service, event, request);
  const isLarge = messages.some((message) => message.length > 100_000);
  if (isLarge || isSampled(request, sample))
    for (const message of messages) await followMessage(service, message);
}

function parse(message: string): ReturnType<typeof parseBookingMessage> {
  try {
    return parseBookingMessage(splitMac(message).message);
  } catch (error) {
    throw new Finding(`The queue holds what is not a message of ours: ${error} ${message.slice(0, 500)}`);
  }
}

/** Sync of an external message ends in a stored booking, never in the dead-letter queue. */
async function followMessage(service: Service, body: string): Promise<void> {
  const { staying, writes, lines } = await service.sync([body]);
  try {
    expectThat(
      staying.length === 0,
      () => `Sync cannot do with what was accepted: ${lines.join('').slice(0, 2000)} ${body.slice(0, 500)}`,
    );
    const message = parse(body) as PaymentReported;
    const saved = writes.filter(({ operation }) => operation === 'PutItemCommand');
    if (message.type !== 'payment' || !message.booking || saved.length === 0) return;
    const stored = saved.some(
      ({ input }) => (input as { Item: { status?: unknown } }).Item.status !== undefined,
    );
    // A payment that only references a booking creates none: it is published as orphaned.
    const isOrphaned = writes.some(
      ({ operation, input }) =>
        operation === 'PutEventsCommand' && JSON.stringify(input).includes('payment.orphaned'),
    );
    expectThat(
      stored || (message.booking.mustExist === true && isOrphaned),
      () => `Sync stored no booking: ${body.slice(0, 500)}`,
    );
  } finally {
    await service.restore(writes);
  }
}

/** Google reports a misconfigured client of the operator in the browser's address: not a fault of the function. */
function isOperators(routeKey: string, status: number, text: string, lines: string[]): boolean {
  const isCallback = routeKey === `GET ${routes.callback}` && status === 503;
  const isReported = lines.some((line) => line.includes('"OperatorError":1'));
  return isCallback && isReported && text.includes('google_client_misconfigured');
}

/** A day, or a time: with an offset, or local to the booking's time zone. */
const aTime = /^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d([+-]\d\d:\d\d|Z)?)?$/;
const isLocal = (time: string): boolean => /T\d\d:\d\d:\d\d$/.test(time);

/** An accepted booking can be read and listed, and its view can declare it again. */
async function followBooking(
  service: Service,
  { headers, pathParameters, rawPath }: HttpRequest,
  request: Case,
): Promise<void> {
  const authorization = headers.authorization ?? '';
  const ask = async (method: string, path: string, rawQueryString = '', body?: string) => {
    const route = path === routes.bookings ? path : routes.booking;
    const event = {
      routeKey: `${method} ${route}`,
      rawPath: path,
      rawQueryString,
      headers: { authorization },
      pathParameters,
      body,
      isBase64Encoded: false,
    };
    const { answer, writes } = await service.call(event.routeKey, event);
    return { ...(answer as { statusCode: number; body: string }), writes };
  };
  const id = pathParameters?.id;
  const read = await ask('GET', rawPath);
  expectThat(read.statusCode === 200, () => `Accepted, and yet it cannot be read: ${read.body}`);
  const { desired, revision } = JSON.parse(read.body) as v.InferOutput<typeof bookingSchema>;
  for (const time of [desired.start, desired.end]) {
    expectThat(time === undefined || aTime.test(time), () => `No time that others can read: ${time}`);
    const hasZone = desired.timeZone !== undefined;
    expectThat(!time || hasZone || !isLocal(time), () => `A local time without its zone: ${time}`);
  }
  const list = await ask('GET', routes.bookings, 'limit=100');
  expectThat(list.statusCode === 200, () => `Accepted, and yet the list fails: ${list.body}`);
  const listed = (JSON.parse(list.body) as { bookings: { bookingId: string }[] }).bookings;
  expectThat(
    !desired.start || listed.some(({ bookingId }) => bookingId === id),
    () => `Accepted, and yet not in the list: ${read.body}`,
  );
  if (desired.cancelledAt !== undefined || request.lie) return;
  const again = await ask('PUT', rawPath, '', JSON.stringify(desired));
  await service.restore(again.writes);
  const same = again.statusCode === 200 && JSON.parse(again.body).revision === revision;
  expectThat(same, () => `Declared as it is shown, it is another one: ${read.body} ${again.body}`);
}

/** A batch with the case as one body: the other messages are processed in any case. */
async function checkMessage(service: Service, { body }: Case): Promise<Verdict> {
  const sound = JSON.stringify({ schemaVersion: 1, type: 'sync', bookingId: 'nothing', cause: 'fuzz' });
  const started = performance.now();
  const { staying, writes, lines } = await service.sync([sound, body, sound]).catch((error: unknown) => {
    throw new Finding(`The batch failed as a whole: ${error instanceof Error ? error.stack : error}`);
  });
  try {
    expectThat(
      !staying.includes('m0') && !staying.includes('m2'),
      () => `Others stay with it: ${lines.join('')}`,
    );
    let isOurs = true;
    try {
      parseBookingMessage(splitMac(body).message);
    } catch {
      isOurs = false;
    }
    expectThat(isOurs || staying.includes('m1'), () => `Taken for done: ${body.slice(0, 500)}`);
    for (const secret of service.secrets())
      expectThat(!lines.join('').includes(secret), () => `A secret in the log: ${lines.join('')}`);
    const stays = staying.includes('m1');
    return {
      status: stays ? 422 : 200,
      code: isOurs ? (stays ? '(ours and yet it stays)' : '') : '(not ours)',
      ms: performance.now() - started,
    };
  } finally {
    await service.restore(writes);
  }
}

/** After many cases: effects that no single case shows. */
export async function checkRest(service: Service): Promise<void> {
  const changed = await service.changedRows();
  expectThat(
    changed.length === 0,
    () =>
      `Rows have changed without a write that was seen: ${changed.join(', ')} in ${Object.values(tableNames)}`,
  );
  for (const message of await service.drain()) parse(message);
  for (const prototype of [Object.prototype, Array.prototype, Function.prototype, String.prototype]) {
    const names = Object.getOwnPropertyNames(prototype).join();
    const known = natural.get(prototype) as string;
    expectThat(names === known, () => `A prototype was polluted: ${names} instead of ${known}`);
  }
}

const natural = new Map(
  [Object.prototype, Array.prototype, Function.prototype, String.prototype].map((it) => [
    it as unknown,
    Object.getOwnPropertyNames(it).join(),
  ]),
);
