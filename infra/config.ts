import { z } from 'zod';

const minutes = z.coerce.number().int().min(1).max(1440);

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
  returnOrigins: z.string().trim().default(''),
  /** Requests per second that the API lets through, over all clients. */
  throttleRate: z.coerce.number().positive().default(100),
  /** Requests the API takes in one instant beyond that rate. */
  throttleBurst: z.coerce.number().int().positive().default(200),
  /** Days that logs are kept: one of the periods CloudWatch offers. */
  logRetentionDays: z.coerce.number().int().positive().default(30),
  /** Runs of booking-sync at the same time, 2..1000. Bounds what we ask of Google, whose quota is per project. */
  syncConcurrency: z.coerce.number().int().min(2).max(1000).default(20),
  /** Minutes between two runs of token-refresh. */
  refreshEveryMinutes: minutes.default(5),
  /** Gets the alarms by e-mail, once the subscription is confirmed. Alarms without it only change colour in the console. */
  alarmEmail: z.email().optional(),
});

export type StackConfig = z.output<typeof stackConfig>;

/**
 * Reads the configuration by key, as from `node.tryGetContext`, where the command line gives strings.
 * Throws with the key, what is wrong with its value, and what it may be.
 */
export function readConfig(contextValue: (key: string) => unknown): StackConfig {
  const given = Object.keys(stackConfig.shape).flatMap((key) => {
    const value = contextValue(key);
    return value === undefined ? [] : [[key, value] as const];
  });
  const parsed = stackConfig.safeParse(Object.fromEntries(given));
  if (parsed.success) return parsed.data;
  throw new Error(`The CDK context cannot be used. See infra/config.ts.\n${z.prettifyError(parsed.error)}`);
}
