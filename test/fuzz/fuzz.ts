/** Rounds of the fuzzer: every endpoint in turn, by its weight, until enough requests were sent. */
import fc from 'fast-check';
import { check, checkRest, type Verdict } from './oracle.ts';
import { type Case, type Target, targets } from './requests.ts';
import type { Service } from './service.ts';
import { type Watchdog, watch } from './watchdog.ts';

export type FuzzOptions = {
  runs: number;
  seed: number;
  /** Only endpoints whose name contains this. */
  only?: string | undefined;
  onProgress?: (progress: Progress) => void;
  /** Ends it early, after the current block. */
  signal?: AbortSignal;
};

export type Progress = { sent: number; runs: number; seconds: number; endpoint: string; findings: number };

/** A forbidden effect, with the minimal request that causes it. */
export type Discovery = { endpoint: string; message: string; seed: number; request: Case };

export type Statistics = {
  sent: number;
  slowest: number;
  statuses: Map<number, number>;
  codes: Map<string, number>;
};

export type Report = {
  sent: number;
  seconds: number;
  endpoints: Map<string, Statistics>;
  findings: Discovery[];
};

/** Requests to one endpoint before all tables are compared. */
const block = 400;
/** Seconds after which a request that blocks the whole process ends it. */
const blockedFor = 60;
/** An endpoint with this many findings is skipped. */
const enough = 3;

export async function fuzz(
  service: Service,
  { runs, seed, only = '', onProgress, signal }: FuzzOptions,
): Promise<Report> {
  const chosen = targets.filter(({ endpoint }) => endpoint.includes(only));
  if (chosen.length === 0) {
    throw new Error(
      `There is no endpoint "${only}", only ${targets.map(({ endpoint }) => endpoint).join(', ')}.`,
    );
  }
  const weights = chosen.reduce((sum, { weight }) => sum + weight, 0);
  const endpoints = new Map(
    chosen.map(({ endpoint }): [string, Statistics] => [
      endpoint,
      { sent: 0, slowest: 0, statuses: new Map(), codes: new Map() },
    ]),
  );
  const findings: Discovery[] = [];
  const startedAt = performance.now();
  const seconds = () => (performance.now() - startedAt) / 1000;
  let sent = 0;

  const count = (endpoint: string, { status, code, ms }: Verdict) => {
    const statistics = endpoints.get(endpoint) as Statistics;
    statistics.sent++;
    statistics.slowest = Math.max(statistics.slowest, ms);
    statistics.statuses.set(status, (statistics.statuses.get(status) ?? 0) + 1);
    if (code) statistics.codes.set(code, (statistics.codes.get(code) ?? 0) + 1);
    sent++;
    if (sent % 100 === 0)
      onProgress?.({ sent, runs, seconds: seconds(), endpoint, findings: findings.length });
  };

  const watchdog = await watch(`seed ${seed}${only && `, only "${only}"`}`, blockedFor);
  for (let round = 0; sent < runs; round++) {
    const before = sent;
    for (const [index, target] of chosen.entries()) {
      if (findings.filter(({ endpoint }) => endpoint === target.endpoint).length >= enough) continue;
      // Every endpoint has its share also of a short run.
      const share = Math.ceil((Math.min(runs, block * 12) * target.weight) / weights);
      const numRuns = Math.min(share, runs - sent);
      if (numRuns <= 0 || signal?.aborted) break;
      const blockSeed = seed * 1_000_003 + round * 101 + index;
      const found = await fuzzBlock(service, target, { seed: blockSeed, numRuns }, { count, watchdog });
      if (found) findings.push(found);
    }
    // All endpoints are skipped.
    if (sent === before) break;
  }
  await watchdog.stop();
  return { sent, seconds: seconds(), endpoints, findings };
}

async function fuzzBlock(
  service: Service,
  { endpoint, cases }: Target,
  { seed, numRuns }: { seed: number; numRuns: number },
  { count, watchdog }: { count: (endpoint: string, verdict: Verdict) => void; watchdog: Watchdog },
): Promise<Discovery | undefined> {
  // Requests that shrink a finding do not count.
  let isFound = false;
  const property = fc.asyncProperty(cases, async (request) => {
    watchdog.beat();
    try {
      const verdict = await check(service, request);
      if (!isFound) count(endpoint, verdict);
    } catch (error) {
      isFound = true;
      throw error;
    }
  });
  const { failed, counterexample, errorInstance } = await fc.check(property, {
    seed: seed | 0,
    numRuns,
    interruptAfterTimeLimit: 600_000,
    markInterruptAsFailure: false,
  });
  if (failed) {
    const message = errorInstance instanceof Error ? errorInstance.message : String(errorInstance);
    return { endpoint, message, seed, request: counterexample?.[0] as Case };
  }
  try {
    await checkRest(service);
  } catch (error) {
    return {
      endpoint,
      message: (error as Error).message,
      seed,
      request: { endpoint, method: '', path: '', query: '', headers: [], body: '' },
    };
  }
  return undefined;
}
