/** What goes wrong, how often, and how: drawn for each operation from the chance of its process. */
import { AppError } from '../../shared/lib/app-error.ts';
import { type Answer, answer } from './google.ts';
import { ready } from './readiness.ts';
import { between, type Course, oneOf, type Random } from './scheduler.ts';

/** Where an operation goes. */
export const targets = [
  'table read',
  'batch read',
  'table write',
  'index',
  'queue',
  'queue batch',
  'bus',
  'secret',
  'events.insert',
  'events.get',
  'events.patch',
  'events.delete',
  'events.list',
  'calendarList.list',
  'freebusy.query',
  'token',
  'revoke',
  'sleep',
] as const;
export type Target = (typeof targets)[number];

const isGoogle = (target: Target): boolean => /^(events|freebusy|calendarList|token|revoke)/.test(target);
const isCalendar = (target: Target): boolean => /^(events|freebusy|calendarList)/.test(target);
const isEventWrite = (target: Target): boolean => /^events\.(insert|patch|delete)$/.test(target);
const isWrite = (target: Target): boolean => /write|queue|bus|insert|patch|delete|token|revoke/.test(target);

type Maker = (target: Target, random: Random) => Partial<Course>;

const throws = (make: () => unknown) => (): never => {
  throw make();
};
const named = (name: string, message: string) => () => Object.assign(new Error(message), { name });
const lost = (target: Target) =>
  target === 'token' || target === 'revoke'
    ? () =>
        new AppError('google_unreachable', "Google's token endpoint could not be reached.", { status: 503 })
    : named('TypeError', 'fetch failed');
const timedOut = (target: Target) =>
  target === 'token' || target === 'revoke' ? lost(target) : named('TimeoutError', 'The operation timed out');

/** An error of the Calendar API as Google sends it. */
function refusal(
  status: number,
  reason: string,
  headers: Record<string, string> = {},
  domain = 'global',
): () => Answer {
  const body = JSON.stringify({
    error: { code: status, message: reason, errors: [{ domain, reason, message: reason }] },
  });
  return () => answer(status, body, { 'content-type': 'application/json', ...headers });
}
const html = (status: number) => () => answer(status, '<!doctype html><title>Error</title>');
const tokenStatus = (status: number) =>
  throws(
    () =>
      new AppError('google_unexpected_status', `Google's token endpoint answered ${status}.`, {
        status: 503,
      }),
  );

/** Statuses that a proxy or a front end of Google answers with a page. */
const pageStatuses = [400, 401, 403, 404, 409, 410, 412, 413, 429, 500, 502];
const unknownReasons: [domain: string, reason: string][] = [
  ['usageLimits', 'dailyLimitExceeded'],
  ['usageLimits', 'someNewLimitExceeded'],
  ['calendar', 'notACalendarUser'],
  ['calendar', 'requiredAccessLevel'],
  ['global', 'CONSUMER_SUSPENDED'],
  ['global', 'domainPolicy'],
];
const isPassing = (target: Target): boolean =>
  ready.passingAnswers ? target.startsWith('events') : target === 'events.insert';

/** Milliseconds from the caller's last moment to the effect: at once, within the in-doubt window, or just before its end. */
function drawLateness(random: Random): number {
  const [least, most] = oneOf(random, [
    [0, 500],
    [500, 30_000],
    [30_000, 90_000],
    [100_000, 110_000],
  ] as const);
  return between(random, least, most);
}

type Fault = { on: (target: Target) => boolean; make: Maker };

/** Every fault by name. A profile turns some of them on. */
const faultsByName = {
  'crash before': { on: () => true, make: () => ({ crash: 'before' }) },
  'crash after': { on: () => true, make: () => ({ crash: 'after' }) },
  slow: { on: (target) => target !== 'sleep', make: (_, random) => ({ before: between(random, 500, 7000) }) },
  // A machine that is paused and then goes on, past every lease and time-out.
  paused: {
    on: (target) => target !== 'sleep',
    make: (_, random) => ({ after: between(random, 20_000, 400_000) }),
  },
  throttled: {
    on: (target) => /^(table|batch|index|queue|bus|secret)/.test(target),
    make: () => ({ refuse: throws(named('ProvisionedThroughputExceededException', 'Throughput exceeded')) }),
  },
  'answer lost': {
    on: (target) => isWrite(target) && !isGoogle(target),
    make: () => ({ answer: throws(named('TimeoutError', 'No answer came')) }),
  },
  'repeated by the SDK': {
    on: (target) => target === 'table write' || target === 'queue',
    make: (_, random) => ({ repeatAfter: between(random, 50, 2000) }),
  },
  'keys left unprocessed': { on: (target) => target === 'batch read', make: () => ({}) },
  'part of a batch refused': { on: (target) => target === 'queue batch', make: () => ({}) },
  'request lost': { on: isGoogle, make: (target) => ({ refuse: throws(lost(target)) }) },
  'response lost': { on: isGoogle, make: (target) => ({ answer: throws(lost(target)) }) },
  'timed out': {
    on: (target) => isGoogle(target),
    make: (target, random) => ({
      before: 8000,
      answer: throws(timedOut(target)),
      lateBy: random() < 0.5 ? between(random, 0, oneOf(random, [1000, 30_000, 90_000])) : undefined,
    }),
  },
  'answered 5xx': {
    on: isGoogle,
    make: (target, random) => {
      if (!isCalendar(target)) return { refuse: tokenStatus(503) };
      return { refuse: random() < 0.5 ? html(503) : refusal(500, 'backendError') };
    },
  },
  'done, and answered 5xx': {
    on: isGoogle,
    make: (target) => ({ answer: isCalendar(target) ? html(502) : tokenStatus(502) }),
  },
  'malformed body': {
    on: isGoogle,
    make: (target) => ({
      answer: isCalendar(target)
        ? (value) => ({ ...(value as Answer), text: async () => '{"id": "cut o' })
        : throws(() => new AppError('google_unexpected_body', 'No tokens in it.', { status: 502 })),
    }),
  },
  // Google rejects the data of an event: the only answer that fails a booking.
  '400 data': {
    on: (target) => target === 'events.insert' || target === 'events.patch',
    make: () => ({ refuse: refusal(400, 'invalid') }),
  },
  '401': { on: isCalendar, make: () => ({ refuse: refusal(401, 'authError') }) },
  '403 rate limit': {
    on: isCalendar,
    make: (_, random) => ({
      refuse: refusal(403, oneOf(random, ['rateLimitExceeded', 'userRateLimitExceeded'])),
    }),
  },
  '403 quota': { on: isCalendar, make: () => ({ refuse: refusal(403, 'quotaExceeded') }) },
  '403 not set up': { on: isCalendar, make: () => ({ refuse: refusal(403, 'accessNotConfigured') }) },
  '403 scope missing': { on: isCalendar, make: () => ({ refuse: refusal(403, 'insufficientPermissions') }) },
  '403 forbidden': { on: isCalendar, make: () => ({ refuse: refusal(403, 'forbidden') }) },
  // Answers that pass, although the event or the calendar exists.
  '404': { on: isPassing, make: () => ({ refuse: refusal(404, 'notFound') }) },
  '410': {
    on: (target) => ready.passingAnswers && isPassing(target),
    make: () => ({ refuse: refusal(410, 'deleted') }),
  },
  'page with any status': {
    on: (target) => ready.rejections && isCalendar(target),
    make: (_, random) => ({ refuse: html(oneOf(random, pageStatuses)) }),
  },
  '403 unknown': {
    on: (target) => ready.rejections && isCalendar(target),
    make: (_, random) => {
      const [domain, reason] = oneOf(random, unknownReasons);
      return { refuse: refusal(403, reason, {}, domain) };
    },
  },
  '409 conflict': {
    on: (target) => target === 'events.insert',
    make: () => ({ refuse: refusal(409, 'conflict') }),
  },
  '412': {
    on: (target) => target === 'events.patch',
    make: () => ({ refuse: refusal(412, 'conditionNotMet') }),
  },
  '429': {
    on: isCalendar,
    make: (_, random) => ({
      refuse: refusal(429, 'rateLimitExceeded', random() < 0.5 ? { 'retry-after': '120' } : {}),
    }),
  },
  'client refused': {
    on: (target) => target === 'token',
    make: () => ({
      refuse: throws(
        () =>
          new AppError('google_client_misconfigured', 'Google refuses the OAuth client.', { status: 503 }),
      ),
    }),
  },
  // The in-doubt window is 120 seconds from the record of a run; clocks and due times differ by some seconds.
  'applied late': {
    on: isEventWrite,
    make: (target, random) => ({
      before: 8000,
      answer: throws(timedOut(target)),
      lateBy: drawLateness(random),
    }),
  },
  'crashed, applied late': {
    on: isEventWrite,
    make: (_, random) => ({ crash: 'before', lateBy: drawLateness(random) }),
  },
} satisfies Record<string, Fault>;

export type FaultName = keyof typeof faultsByName;
export const faultNames = Object.keys(faultsByName) as FaultName[];
const faults: Record<FaultName, Fault> = faultsByName;

export const canHit = (fault: FaultName, target: Target): boolean => faults[fault].on(target);

/** How often each fault befalls an operation that it can befall. What is not named never does. */
export type Profile = {
  chances: Partial<Record<FaultName, number>>;
  /** What befalls the operations of one kind, one after the other and then over again. */
  script?: { target: Target; faults: (FaultName | 'none')[] };
};

/** How long things take when nothing is wrong: milliseconds until the effect, and until the answer. */
function usual(target: Target, random: Random): { before: number; after: number } {
  if (target === 'sleep') return { before: 0, after: 0 };
  if (isGoogle(target)) return { before: between(random, 20, 300), after: between(random, 10, 150) };
  return { before: between(random, 1, 12), after: between(random, 1, 8) };
}

/**
 * How an operation goes, and the fault it meets, if any: `random` is of this operation alone. In an outage most fail.
 */
export function courseOf(
  target: Target,
  random: Random,
  profile: Profile,
  outage: FaultName | undefined,
  /** How many operations of this kind there have been before. */
  before: number,
): { course: Course; fault?: FaultName; pauses: boolean } {
  const course = usual(target, random);
  const fault = outage && random() < 0.7 ? outage : drawFault(target, random, profile, before);
  if (!fault) return { course, pauses: false };
  return { course: { ...course, ...faults[fault].make(target, random) }, fault, pauses: fault === 'paused' };
}

/** What operations of a kind meet in an outage. */
export function outageOf(target: Target, isRateLimit: boolean): FaultName {
  if (isRateLimit) return '429';
  return isGoogle(target) ? 'answered 5xx' : 'throttled';
}

function drawFault(
  target: Target,
  random: Random,
  { chances, script }: Profile,
  before: number,
): FaultName | undefined {
  if (script?.target === target) {
    const fault = script.faults[before % script.faults.length];
    return fault === 'none' ? undefined : fault;
  }
  let left = random();
  return faultNames.find((name) => {
    const chance = faults[name].on(target) ? (chances[name] ?? 0) : 0;
    left -= chance;
    return chance > 0 && left < 0;
  });
}
