/**
 * One simulated time for everything that happens in a scenario. Each call of a process to the outside (a table, a
 * queue, Google, a moment of sleep) is an operation: it is asked, takes effect at some instant and is answered at a later
 * one, and between any two of these others get their turn. All chance comes from the seed, so a seed replays a scenario.
 */

/** A number in [0, 1). */
export type Random = () => number;

/** An invocation of a function, or a caller outside. `skew`: milliseconds by which its clock is ahead. */
export type Process = {
  name: string;
  random: Random;
  skew: number;
  /** Crashed: its open calls are never answered. */
  dead: boolean;
  /** Was paused: it may go on after its time-out. */
  paused: boolean;
  onDeath: () => void;
  /** Its invocation is over: what it still waits for comes, and is of no concern. */
  ended: boolean;
  /** Operations so far: with the name they identify each of them, in every replay. */
  operations: number;
};

/** How an operation goes: milliseconds until its effect and from there to the answer, and what else befalls it. */
export type Course = {
  before: number;
  after: number;
  /** Does not take place; the caller is given this instead, or what it throws. */
  refuse?: (() => unknown) | undefined;
  /** Takes place, and the caller is given this of its outcome, or what it throws. */
  answer?: ((value: unknown) => unknown) | undefined;
  /** Takes place so many milliseconds after the caller was answered, or has crashed. */
  lateBy?: number | undefined;
  /** Takes place twice, as when a client repeats what it got no answer to; the second time is answered. */
  repeatAfter?: number | undefined;
  /** The process crashes. */
  crash?: 'before' | 'after' | undefined;
};

export type Scheduler = ReturnType<typeof createScheduler>;

/** @param mostThings throws where more than this happens */
export function createScheduler(startsAt: number, mostThings = Number.POSITIVE_INFINITY) {
  let happened = 0;
  let now = startsAt;
  let sequence = 0;
  const events = heap<{ at: number; order: number; run: () => void; resumes: boolean }>(
    (one, other) => one.at - other.at || one.order - other.order,
  );

  const at = (delay: number, run: () => void, resumes = true): void => {
    sequence += 1;
    events.push({ at: now + Math.max(0, delay), order: sequence, run, resumes });
  };

  /** An operation takes effect as its course says, and is answered. */
  function takeEffect<T>(
    process: Process,
    { after, refuse, answer: altered, lateBy, repeatAfter = 0, crash }: Course,
    effect: () => T,
    answer: (outcome: Outcome<T>) => void,
  ): void {
    const applyLate = (delay: number): void => at(delay, () => void attempt(effect), false);
    if (crash === 'before' && !process.ended) {
      if (lateBy !== undefined) applyLate(lateBy);
      kill(process);
      return;
    }
    // What has been sent arrives, even if its sender has crashed.
    if (refuse) {
      answer(attempt(refuse as () => T));
      return;
    }
    const answerAltered = (outcome: Outcome<T>): void =>
      answer(altered ? attempt(() => altered(outcome.ok ? outcome.value : undefined) as T) : outcome);
    if (lateBy !== undefined) {
      applyLate(after + lateBy);
      answerAltered({ ok: false, error: new Error('late') });
      return;
    }
    const outcome = attempt(effect);
    if (repeatAfter > 0) at(repeatAfter, () => answerAltered(attempt(effect)), false);
    else answerAltered(outcome);
  }

  return {
    /** Epoch milliseconds. */
    now: () => now,
    /** Calls `run` in so many milliseconds. */
    at,
    /** Moves time on while nothing is under way. */
    skipTo(instant: number): void {
      now = Math.max(now, instant);
    },
    /** When the next thing happens; undefined where nothing is under way. */
    next: () => events.peek()?.at,

    /** Carries out an operation of a process: `effect` is what it does to the world, all at once. */
    operate<T>(process: Process, course: Course, effect: () => T): Promise<T> {
      return new Promise<T>((resolve, reject) => {
        const settle = (outcome: Outcome<T>): void => {
          if (course.crash === 'after' && !process.ended) kill(process);
          if (process.dead) return;
          if (outcome.ok) resolve(outcome.value);
          else reject(outcome.error);
        };
        const answer = (outcome: Outcome<T>): void => at(course.after, () => settle(outcome));
        at(course.before, () => takeEffect(process, course, effect, answer), false);
      });
    },

    /** Lets things happen, in order, until `until` (epoch milliseconds) or until nothing is under way. */
    async run(until: number): Promise<void> {
      await settled();
      for (let event = events.peek(); event && event.at <= until; event = events.peek()) {
        events.pop();
        if (++happened > mostThings) throw new Error('It does not come to an end.');
        now = Math.max(now, event.at);
        event.run();
        // The process that was answered goes on until its next call.
        if (event.resumes) await settled();
      }
    },
  };
}

type Outcome<T> = { ok: true; value: T } | { ok: false; error: unknown };

function attempt<T>(effect: () => T): Outcome<T> {
  try {
    return { ok: true, value: effect() };
  } catch (error) {
    return { ok: false, error };
  }
}

/** Crashes a process. */
export function kill(process: Process): void {
  if (process.dead) return;
  process.dead = true;
  process.onDeath();
}

/** Resolves when every promise that can go on has done so. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Numbers that depend on a text alone. */
export function randomOf(text: string): Random {
  let state = 2166136261;
  for (let index = 0; index < text.length; index++) {
    state = Math.imul(state ^ text.charCodeAt(index), 16777619);
  }
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const between = (random: Random, least: number, most: number): number =>
  least + random() * (most - least);
export const whole = (random: Random, least: number, most: number): number =>
  Math.floor(between(random, least, most + 1));
export function oneOf<T>(random: Random, items: readonly T[]): T {
  return items[Math.floor(random() * items.length)] as T;
}

function heap<T>(compare: (one: T, other: T) => number) {
  const items: T[] = [];
  const swap = (one: number, other: number): void => {
    [items[one], items[other]] = [items[other] as T, items[one] as T];
  };
  const isBefore = (one: number, other: number): boolean => compare(items[one] as T, items[other] as T) < 0;
  return {
    peek: () => items[0],
    push(item: T): void {
      let place = items.push(item) - 1;
      for (let parent = (place - 1) >> 1; place > 0 && isBefore(place, parent); parent = (place - 1) >> 1) {
        swap(place, parent);
        place = parent;
      }
    },
    pop(): void {
      swap(0, items.length - 1);
      items.pop();
      for (let place = 0; ; ) {
        const left = 2 * place + 1;
        if (left >= items.length) return;
        const child = left + 1 < items.length && isBefore(left + 1, left) ? left + 1 : left;
        if (!isBefore(child, place)) return;
        swap(child, place);
        place = child;
      }
    },
  };
}
