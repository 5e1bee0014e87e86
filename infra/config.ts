import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { z } from 'zod';

/**
 * Everything that may differ from one deployment to the next, with its default. Each is a key of the CDK
 * context: `npx cdk deploy -c logRetentionDays=90`, or under "context" in cdk.json.
 */
const stackConfig = z.strictObject({
  /** Where browsers reach the API when it has a domain of its own, e.g. `https://calendar.example.com`. The API's own address when absent. */
  publicUrl: z
    .url({ protocol: /^https$/ })
    .transform((url) => url.replace(/\/+$/, ''))
    .optional(),
  /** Origins to which `return_to` may lead, separated by spaces. None by default: users see our own result page. */
  returnOrigins: z
    .string()
    .trim()
    .refine((origins) => origins.split(/\s+/).every((origin) => origin === '' || isOrigin(origin)), {
      error: 'Invalid input: expected origins such as https://app.example.com, without path or final slash',
    })
    .default(''),
  /** Requests per second that the API lets through, over all clients. */
  throttleRate: z.coerce.number().positive().default(100),
  /** Requests that the API takes in one instant beyond that rate. */
  throttleBurst: z.coerce.number().int().positive().default(200),
  /** Days for which logs are kept. */
  logRetentionDays: z.coerce
    .number()
    .refine((days) => days in RetentionDays && days !== RetentionDays.INFINITE, {
      error: 'Invalid input: expected a period that CloudWatch offers, such as 7, 14, 30, 60, 90, 180 or 365',
    })
    .default(30),
  /** Runs of booking-sync at the same time, 2..1000. Bounds what we ask of Google, whose quota is per project. */
  syncConcurrency: z.coerce.number().int().min(2).max(1000).default(20),
  /**
   * Runs of oauth-callback at the same time, and as many of connections: bounds what users can make us ask of Google.
   * With it, token-refresh runs once at a time. 0 reserves nothing, for an account whose quota is too small for it.
   */
  reservedConcurrency: z.coerce.number().int().min(0).max(400).default(20),
  /** Minutes between two runs of token-refresh. */
  refreshEveryMinutes: z.coerce.number().int().min(1).max(1440).default(5),
  /** Days between two tries of the grant of a connection that nobody uses. Google forgets a grant after six months without use. */
  keepAliveDays: z.coerce.number().positive().max(90).default(3),
  /** Minutes before its expiry at which the access token of a connection in use is replaced. Google's live for an hour. */
  refreshMarginMinutes: z.coerce.number().min(2).max(45).default(15),
  /** Refreshes side by side in one run of token-refresh. */
  refreshConcurrency: z.coerce.number().int().min(1).max(200).default(20),
  /** Shards of the due indexes, each good for a thousand changes a second. May be raised at any time, and never lowered. */
  indexShards: z.coerce.number().int().min(1).max(256).default(4),
  /** What connect asks for beyond entering events, separated by spaces: calendar-list, free-busy. Google then shows a box for each. */
  optionalScopes: z
    .string()
    .trim()
    .transform((names) => names.split(/\s+/).filter(Boolean))
    .pipe(z.array(z.enum(['calendar-list', 'free-busy'])))
    .default([]),
  /** Where every event is posted to, e.g. `https://app.example.com/events`. Without it events are on the bus only. */
  eventsUrl: z.url({ protocol: /^https$/ }).optional(),
  /** What a full refund means for its appointment: cancel, or keep it in the calendar. */
  onFullRefund: z.enum(['cancel', 'keep']).default('cancel'),
  /** The same for a dispute that is lost. */
  onDisputeLost: z.enum(['cancel', 'keep']).default('cancel'),
  /** Where something else stands at the time of a booking: create it all the same, create and flag it, or hold it. To see that, optionalScopes must have free-busy. */
  onConflict: z.enum(['create', 'flag', 'hold']).default('create'),
  /** Gets the alarms by e-mail, once it has confirmed the subscription. Without it they show in the console only. */
  alarmEmail: z.email().optional(),
});

export type StackConfig = z.output<typeof stackConfig>;

/**
 * Reads the configuration by key, as from `node.tryGetContext`; numbers may be strings, as the command line
 * gives them. Throws with each key whose value cannot be used, and what it may be.
 */
export function readConfig(contextValue: (key: string) => unknown): StackConfig {
  const given = Object.keys(stackConfig.shape).map((key) => [key, contextValue(key)]);
  const parsed = stackConfig.safeParse(Object.fromEntries(given));
  if (parsed.success) return parsed.data;
  throw new Error(`The CDK context cannot be used; see infra/config.ts.\n${z.prettifyError(parsed.error)}`);
}

function isOrigin(text: string): boolean {
  return URL.canParse(text) && new URL(text).origin === text && /^https?:/.test(text);
}
