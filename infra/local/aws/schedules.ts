/** EventBridge Scheduler on this machine: schedules at a rate of minutes, hours or days. */
import type { ResolvedResource } from './resources.ts';

type Schedule = { name: string; everyMs: number; functionArn: string; input: unknown };

const unitMs = { minute: 60_000, hour: 3_600_000, day: 86_400_000 } as const;

/**
 * Reads the enabled schedules of the template.
 * @throws Error on a schedule that is not a rate
 */
export function readSchedules(resources: ResolvedResource[]): Schedule[] {
  return resources
    .filter(({ properties }) => properties.State !== 'DISABLED')
    .map(({ ref, properties }) => {
      const target = properties.Target as { Arn: string; Input?: string };
      return {
        name: ref,
        everyMs: rateInMs(ref, String(properties.ScheduleExpression)),
        functionArn: target.Arn,
        input: target.Input === undefined ? defaultInput(ref) : JSON.parse(target.Input),
      };
    });
}

function rateInMs(name: string, expression: string): number {
  const rate = /^rate\((\d+) (minute|hour|day)s?\)$/.exec(expression);
  if (!rate) {
    throw new Error(`The schedule ${name} is ${expression}; the local stack runs rates: rate(5 minutes).`);
  }
  return Number(rate[1]) * unitMs[rate[2] as keyof typeof unitMs];
}

/** The input of a target that has none of its own. */
function defaultInput(name: string): unknown {
  return { source: 'aws.scheduler', 'detail-type': 'Scheduled Event', resources: [name], detail: '{}' };
}

/**
 * Runs each schedule at its rate. A run that lasts longer than its rate does not delay the next one, as in AWS.
 * @returns a function that stops all of them
 */
export function startSchedules(schedules: Schedule[], run: (schedule: Schedule) => void): () => void {
  const timers = schedules.map((schedule) => setInterval(() => run(schedule), schedule.everyMs));
  return () => {
    for (const timer of timers) clearInterval(timer);
  };
}
