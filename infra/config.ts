import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import * as v from 'valibot';
import { discreetly, emailAddress } from '../shared/schemas.ts';

const number = v.pipe(v.unknown(), v.transform(Number), v.number(), v.finite());
const whole = (least: number, most: number) =>
  v.pipe(
    number,
    v.safeInteger('Invalid input: expected a whole number'),
    v.minValue(least),
    v.maxValue(most),
  );
const httpsUrl = v.pipe(
  v.string(),
  v.trim(),
  v.check(
    (url) => URL.canParse(url) && new URL(url).protocol === 'https:',
    'Invalid input: expected an https URL',
  ),
  v.check((url) => {
    const { username, password, hash } = new URL(url);
    return !username && !password && !hash && !url.includes('#');
  }, 'Invalid input: expected a URL without user name, password and fragment'),
);

/**
 * Everything that may differ from one deployment to the next, with its default. Each is a key of the CDK
 * context: `npx cdk deploy -c logRetentionDays=90`, or under "context" in cdk.json.
 */
const stackConfig = v.strictObject({
  /** Where browsers reach the API when it has a domain of its own, e.g. `https://calendar.example.com`. The API's own address when absent. */
  publicUrl: v.optional(
    v.pipe(
      httpsUrl,
      v.check((url) => !url.includes('?'), 'Invalid input: expected a URL without a query'),
      v.transform((url) => url.replace(/\/+$/, '')),
    ),
  ),
  /** With publicUrl: whether the API also answers at its own address, past what protects the domain. For a proxy that forwards there, and for the time before the domain is mapped to the API. */
  keepDefaultEndpoint: v.optional(
    v.pipe(
      v.union([v.boolean(), v.literal('true'), v.literal('false')], 'Invalid input: expected true or false'),
      v.transform((value) => value === true || value === 'true'),
    ),
    'false',
  ),
  /** Origins to which `return_to` may lead, separated by spaces. None by default: users see our own result page. */
  returnOrigins: v.optional(
    v.pipe(
      v.string(),
      v.trim(),
      v.check(
        (origins) => origins.split(/\s+/).every((origin) => origin === '' || isOrigin(origin)),
        'Invalid input: expected https origins such as https://app.example.com, without path or final slash; http is for localhost only',
      ),
    ),
    '',
  ),
  /** Requests per second that the API lets through, over all clients. */
  throttleRate: v.optional(v.pipe(number, v.gtValue(0)), 100),
  /** Requests that the API takes in one instant beyond that rate. */
  throttleBurst: v.optional(whole(1, Number.MAX_SAFE_INTEGER), 200),
  /** Days for which logs are kept. */
  logRetentionDays: v.optional(
    v.pipe(
      number,
      v.check(
        (days) => days in RetentionDays && days !== RetentionDays.INFINITE,
        'Invalid input: expected a period that CloudWatch offers, such as 7, 14, 30, 60, 90, 180 or 365',
      ),
    ),
    30,
  ),
  /** Runs of booking-sync at the same time, 2..1000. Bounds what we ask of Google, whose quota is per project. */
  syncConcurrency: v.optional(whole(2, 1000), 20),
  /**
   * Runs of oauth-callback at the same time, and as many of connections: bounds what users can make us ask of Google.
   * With it, token-refresh runs once at a time. 0 reserves nothing, for an account whose quota is too small for it.
   */
  reservedConcurrency: v.optional(whole(0, 400), 20),
  /** Minutes between two runs of token-refresh. */
  refreshEveryMinutes: v.optional(whole(1, 1440), 5),
  /** Days between two tries of the grant of a connection that nobody uses. Google forgets a grant after six months without use. */
  keepAliveDays: v.optional(v.pipe(number, v.gtValue(0), v.maxValue(90)), 3),
  /** Minutes before its expiry at which the access token of a connection in use is replaced. Google's live for an hour. */
  refreshMarginMinutes: v.optional(v.pipe(number, v.minValue(2), v.maxValue(45)), 15),
  /** Refreshes side by side in one run of token-refresh. */
  refreshConcurrency: v.optional(whole(1, 200), 20),
  /** Shards of the due indexes, each good for a thousand changes a second. May be raised at any time, and never lowered. */
  indexShards: v.optional(whole(1, 256), 4),
  /** Calendars that users give access to: those they own, or also those that others share with them. Google asks for less with owned. */
  calendarAccess: v.optional(v.picklist(['owned', 'shared']), 'owned'),
  /** What connect asks for beyond entering events, separated by spaces: calendar-list, free-busy. Google then shows a box for each. */
  optionalScopes: v.optional(
    v.pipe(
      v.string(),
      v.transform((names) => names.split(/\s+/).filter(Boolean)),
      v.array(v.picklist(['calendar-list', 'free-busy'])),
    ),
    '',
  ),
  /** Where every event is posted to, e.g. `https://app.example.com/events`. Without it events are on the bus only. */
  eventsUrl: v.optional(httpsUrl),
  /** What a full refund means for its appointment: cancel, or keep it in the calendar. */
  onFullRefund: v.optional(v.picklist(['cancel', 'keep']), 'cancel'),
  /** The same for a dispute that is lost. */
  onDisputeLost: v.optional(v.picklist(['cancel', 'keep']), 'cancel'),
  /** Where something else stands at the time of a booking: create it all the same, create and flag it, or hold it. To see that, optionalScopes must have free-busy. */
  onConflict: v.optional(v.picklist(['create', 'flag', 'hold']), 'create'),
  /** The mode of Stripe whose payments count: live, test, or both. Events of the other one are ignored. */
  stripeMode: v.optional(v.picklist(['live', 'test', 'both']), 'live'),
  /** Gets the alarms by e-mail, once it has confirmed the subscription. Without it they show in the console only. */
  alarmEmail: v.optional(emailAddress('Invalid input: expected an email address')),
});

export type StackConfig = v.InferOutput<typeof stackConfig>;

/**
 * Reads the configuration by key, as from `node.tryGetContext`; numbers may be strings, as the command line
 * gives them. Throws with each key whose value cannot be used, and what it may be.
 */
export function readConfig(contextValue: (key: string) => unknown): StackConfig {
  const given = Object.keys(stackConfig.entries).map((key) => [key, contextValue(key)]);
  const parsed = v.safeParse(stackConfig, Object.fromEntries(given), discreetly);
  if (parsed.success) return parsed.output;
  throw new Error(`The CDK context cannot be used; see infra/config.ts.\n${v.summarize(parsed.issues)}`);
}

function isOrigin(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { origin, protocol, hostname } = new URL(text);
  // A wildcard would match no origin: addresses are compared as they are.
  if (origin !== text || text.includes('*')) return false;
  return protocol === 'https:' || (protocol === 'http:' && localHosts.includes(hostname));
}

/** Hosts for which the browser's connection does not leave the machine. */
const localHosts = ['localhost', '127.0.0.1', '[::1]'];
