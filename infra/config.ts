import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import * as v from 'valibot';
import { emailAddress, redactedMessages } from '../shared/lib/schemas.ts';
import { nearestTo } from './nearest.ts';

const number = v.pipe(v.union([v.number(), v.string()]), v.transform(Number), v.number(), v.finite());
const whole = (min: number, max: number) =>
  v.pipe(number, v.safeInteger('Invalid input: expected a whole number'), v.minValue(min), v.maxValue(max));
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
const domain = v.pipe(
  v.string(),
  v.trim(),
  v.toLowerCase(),
  v.regex(
    /^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$/,
    'Invalid input: expected a domain name',
  ),
);
const cancelOrKeep = v.picklist(['cancel', 'keep']);

const flag = v.optional(
  v.pipe(
    v.union([v.boolean(), v.literal('true'), v.literal('false')], 'Invalid input: expected true or false'),
    v.transform((value) => value === true || value === 'true'),
  ),
  false,
);

/** Every option of a deployment, with its description and default: docs/configuration.md is made of them. */
export const stackConfig = v.strictObject({
  publicUrl: option(
    'The `https://…` address where browsers reach the API, where you map a domain to it yourself or a proxy stands before it. The API then no longer answers at its own address.',
    v.optional(
      v.pipe(
        httpsUrl,
        v.check((url) => !url.includes('?'), 'Invalid input: expected a URL without a query'),
        v.transform((url) => url.replace(/\/+$/, '')),
      ),
    ),
  ),
  keepDefaultEndpoint: option(
    'With `publicUrl`: `true` lets the API answer at its own address too, for a proxy that forwards there and until the domain is mapped. A firewall in front of the domain does not protect that address.',
    flag,
  ),
  domainName: option(
    'A domain for the API, such as `calendar.example.com`: the stack maps it, and `publicUrl` follows from it. Needs `hostedZoneId` and `hostedZoneName`, or `certificateArn`.',
    v.optional(domain),
  ),
  hostedZoneId: option(
    'With `domainName`: the Route 53 zone for its records and its certificate.',
    v.optional(
      v.pipe(v.string(), v.regex(/^Z[A-Z0-9]{1,31}$/, 'Invalid input: expected the id of a hosted zone')),
    ),
  ),
  hostedZoneName: option(
    'With `hostedZoneId`: the name of that zone, such as `example.com`.',
    v.optional(domain),
  ),
  certificateArn: option(
    'With `domainName`: a certificate for it in the region of the stack, instead of one that the stack makes.',
    v.optional(
      v.pipe(
        v.string(),
        v.regex(
          /^arn:[\w-]+:acm:[\w-]+:\d{12}:certificate\/[\w-]+$/,
          'Invalid input: expected the ARN of a certificate',
        ),
      ),
    ),
  ),
  returnOrigins: option(
    'Origins to which `return_to` may lead, separated by spaces, e.g. `https://app.example.com`; `http` for localhost only. By default users see our own result page.',
    v.optional(
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
  ),
  throttleRate: option(
    'Requests per second that the API accepts, over all clients.',
    v.optional(v.pipe(number, v.gtValue(0)), 100),
  ),
  throttleBurst: option(
    'Requests that the API accepts in one instant beyond that rate.',
    v.optional(whole(1, Number.MAX_SAFE_INTEGER), 200),
  ),
  logRetentionDays: option(
    'Days for which logs are kept: a period that CloudWatch offers.',
    v.optional(
      v.pipe(
        number,
        v.check(
          (days) => days in RetentionDays && days !== RetentionDays.INFINITE,
          'Invalid input: expected a period that CloudWatch offers, such as 7, 14, 30, 60, 90, 180 or 365',
        ),
      ),
      30,
    ),
  ),
  syncConcurrency: option(
    'Concurrent runs of booking-sync. Bounds the calls to Google, whose quota is per project.',
    v.optional(whole(2, 1000), 20),
  ),
  reservedConcurrency: option(
    'Concurrent runs of oauth-callback, and as many of connections: bounds the calls to Google that users can cause. With it, token-refresh runs once at a time. 0 reserves nothing, for an account whose quota is too small.',
    v.optional(whole(0, 400), 20),
  ),
  refreshEveryMinutes: option('Minutes between two runs of token-refresh.', v.optional(whole(1, 1440), 5)),
  keepAliveDays: option(
    'Days between two refreshes of a connection that is not in use. Google ends a grant after six months without use.',
    v.optional(v.pipe(number, v.gtValue(0), v.maxValue(90)), 3),
  ),
  refreshMarginMinutes: option(
    'Minutes before its expiry at which the access token of a connection in use is replaced. Google issues them for an hour.',
    v.optional(v.pipe(number, v.minValue(2), v.maxValue(45)), 15),
  ),
  refreshConcurrency: option(
    'Concurrent refreshes in one run of token-refresh.',
    v.optional(whole(1, 200), 20),
  ),
  indexShards: option(
    'Shards of the due indexes, each good for a thousand changes a second. May be raised at any time, never lowered.',
    v.optional(whole(1, 256), 4),
  ),
  keepBookingsDays: option(
    'Days for which a booking is kept, with its payments: after the later of the end of its appointment and its last change.',
    v.optional(whole(90, 3650), 400),
  ),
  calendarAccess: option(
    'Calendars that users give access to: their own, or also those that others share with them. Google asks for less with `owned`.',
    v.optional(v.picklist(['owned', 'shared']), 'owned'),
  ),
  optionalScopes: option(
    'Scopes that connect asks for beyond creating events, separated by spaces: `calendar-list`, `free-busy`. Google then shows a box for each.',
    v.optional(
      v.pipe(
        v.union([v.string(), v.array(v.string())]),
        v.transform((names) => (typeof names === 'string' ? names.split(/\s+/).filter(Boolean) : names)),
        v.array(v.picklist(['calendar-list', 'free-busy'])),
      ),
      '',
    ),
  ),
  eventsUrl: option(
    'The https URL to which every event is posted, see [integrate](integrate.md#events). Without it events are on the bus only.',
    v.optional(httpsUrl),
  ),
  onFullRefund: option(
    'What a full refund does with the calendar event: cancel it, or keep it.',
    v.optional(cancelOrKeep, 'cancel'),
  ),
  onDisputeLost: option('The same for a lost dispute.', v.optional(cancelOrKeep, 'cancel')),
  onConflict: option(
    'What to do if another event exists at the time of a booking, see [conflicts](integrate.md#conflicts). `flag` and `hold` need `free-busy` in `optionalScopes`.',
    v.optional(v.picklist(['create', 'flag', 'hold']), 'create'),
  ),
  stripeMode: option(
    'The mode of Stripe whose payments count; events of the other one are ignored. `npm start` serves both.',
    v.optional(v.picklist(['live', 'test', 'both']), 'live'),
  ),
  invoicesPaidOutOfBand: option(
    'Whether an invoice that was marked as paid out of band pays for its booking.',
    v.optional(v.picklist(['ignore', 'count']), 'ignore'),
  ),
  stripeConnect: option(
    'Whether accounts that are connected to your Stripe platform are paid for bookings, see [setup](setup.md#stripe-connect).',
    flag,
  ),
  recoverEveryMinutes: option(
    "Minutes between two runs of payment-recovery, which looks for Stripe's events that no webhook delivered. It needs an [API key](setup.md#recovery).",
    v.optional(whole(5, 1440), 15),
  ),
  stripeEventSource: option(
    'The partner event source that Stripe makes in this account and region, `aws.partner/stripe.com/ed_…`: Stripe then also delivers to EventBridge, see [setup](setup.md#stripe-by-eventbridge).',
    v.optional(
      v.pipe(
        v.string(),
        v.regex(
          /^aws\.partner\/stripe\.com\/ed_\w{1,200}$/,
          'Invalid input: expected the name of a partner event source of Stripe, such as aws.partner/stripe.com/ed_123',
        ),
      ),
    ),
  ),
  alarmEmail: option(
    'Gets the alarms by e-mail, once it has confirmed the subscription. Without it they show in the console only.',
    v.optional(emailAddress('Invalid input: expected an email address')),
  ),
});

function option<const Schema extends v.GenericSchema>(description: string, schema: Schema) {
  return v.pipe(schema, v.description(description));
}

/** The options as a deployment is defined with, and with all defaults. */
export type Options = v.InferInput<typeof stackConfig>;
export type StackConfig = v.InferOutput<typeof stackConfig>;

/** Options that mean nothing, or something else than they seem to, without another one. */
const dependencies: { broken: (config: StackConfig) => boolean; says: string }[] = [
  {
    broken: ({ onConflict, optionalScopes }) =>
      onConflict !== 'create' && !optionalScopes.includes('free-busy'),
    says: 'onConflict "flag" and "hold" need "free-busy" in optionalScopes: without it no conflict is ever seen',
  },
  {
    broken: ({ domainName, publicUrl }) => domainName !== undefined && publicUrl !== undefined,
    says: 'publicUrl follows from domainName: give one of the two',
  },
  {
    broken: ({ domainName, hostedZoneId, certificateArn }) =>
      domainName === undefined && (hostedZoneId ?? certificateArn) !== undefined,
    says: 'hostedZoneId and certificateArn are for domainName, which is missing',
  },
  {
    broken: ({ domainName, hostedZoneId, certificateArn }) =>
      domainName !== undefined && (hostedZoneId ?? certificateArn) === undefined,
    says: 'domainName needs hostedZoneId with hostedZoneName, or certificateArn',
  },
  {
    broken: ({ hostedZoneId, hostedZoneName }) =>
      (hostedZoneId === undefined) !== (hostedZoneName === undefined),
    says: 'hostedZoneId and hostedZoneName belong together',
  },
  {
    broken: ({ domainName, hostedZoneName = '' }) =>
      domainName !== undefined && !`.${domainName}`.endsWith(hostedZoneName && `.${hostedZoneName}`),
    says: 'domainName must be hostedZoneName or end with it',
  },
  {
    broken: ({ keepDefaultEndpoint, domainName, publicUrl }) =>
      keepDefaultEndpoint && (domainName ?? publicUrl) === undefined,
    says: 'keepDefaultEndpoint is for publicUrl or domainName, which are missing',
  },
];

/**
 * Reads options; numbers and flags may be strings, as on the command line. Throws with each key that does not exist, and
 * the nearest one; that has an unusable value, and the values that it takes; or that needs another one.
 */
export function readConfig(given: Record<string, unknown>): StackConfig {
  const names = Object.keys(stackConfig.entries);
  const problems = Object.keys(given)
    .filter((key) => !names.includes(key))
    .map((key) => `There is no option ${key}: did you mean ${nearestTo(key, names)}?`);
  const known = Object.fromEntries(Object.entries(given).filter(([key]) => names.includes(key)));
  const parsed = v.safeParse(stackConfig, known, redactedMessages);
  if (!parsed.success) problems.push(v.summarize(parsed.issues));
  else
    problems.push(
      ...dependencies.filter(({ broken }) => broken(parsed.output)).map(({ says }) => `${says}.`),
    );
  if (parsed.success && problems.length === 0) return parsed.output;
  throw new Error(`The options cannot be used; docs/configuration.md lists them.\n${problems.join('\n')}`);
}

/** Where browsers reach the API, if not at its own address. */
export function publicUrlOf({ publicUrl, domainName }: StackConfig): string | undefined {
  return publicUrl ?? (domainName === undefined ? undefined : `https://${domainName}`);
}

function isOrigin(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { origin, protocol, hostname } = new URL(text);
  // A wildcard would match no origin: addresses are compared literally.
  if (origin !== text || text.includes('*')) return false;
  return protocol === 'https:' || (protocol === 'http:' && localHosts.includes(hostname));
}

/** Hosts for which the browser's connection does not leave the machine. */
const localHosts = ['localhost', '127.0.0.1', '[::1]'];
