/** Invocations of functions, each in an execution environment as Lambda keeps them. */
import { kill, type Process, type Random, type Scheduler } from './scheduler.ts';
import type { Deps, Secrets } from './world.ts';

/** An execution environment: it keeps what it has read of the secrets from one invocation to the next. */
type Environment = { process?: Process; secrets: Secrets; inUse: boolean };

/** How an invocation ended. */
export type Ended<T> = { is: 'done'; value: T } | { is: 'failed'; error: unknown } | { is: 'crashed' };

export function createInvocations(on: {
  scheduler: Scheduler;
  chance: (what: string) => Random;
  onCrash: (process: Process) => void;
  secretsOf: (environment: () => Process) => Secrets;
  depsOf: (process: Process, secrets: Secrets) => Deps;
}) {
  const { scheduler, chance, onCrash, secretsOf, depsOf } = on;
  const environments = new Map<string, Environment[]>();

  return {
    /** Runs an invocation of a function in an environment of its own, for at most `timeout` milliseconds. */
    invoke<T>(
      name: string,
      functionName: string,
      timeout: number,
      run: (deps: Deps) => Promise<T>,
    ): Promise<Ended<T>> {
      const random = chance(name);
      const skew = Math.round((random() - 0.5) * 3000);
      const pool = environments.get(functionName) ?? [];
      environments.set(functionName, pool);
      let environment = pool.find(({ inUse }) => !inUse);
      if (!environment) {
        const created: Environment = {
          inUse: true,
          secrets: secretsOf(() => created.process as Process),
        };
        environment = created;
        pool.push(created);
      }
      const used = environment;
      used.inUse = true;
      return new Promise((resolve) => {
        const end = (ended: Ended<T>): void => {
          if (ended.is === 'crashed') pool.splice(pool.indexOf(used), 1);
          used.inUse = false;
          resolve(ended);
        };
        let over = false;
        const once = (ended: Ended<T>): void => {
          if (over) return;
          over = true;
          process.ended = true;
          end(ended);
        };
        const process: Process = {
          name,
          random,
          skew,
          dead: false,
          paused: false,
          ended: false,
          onDeath: () => {
            onCrash(process);
            once({ is: 'crashed' });
          },
          operations: 0,
        };
        used.process = process;
        scheduler.at(timeout, () => over || process.paused || kill(process));
        run(depsOf(process, used.secrets)).then(
          (value) => once({ is: 'done', value }),
          (error: unknown) => once({ is: 'failed', error }),
        );
      });
    },
  };
}
