import { refresh, type TokenDeps } from '../../shared/access-token.ts';
import { hasCode, isOperatorError } from '../../shared/app-error.ts';
import type { Cursor } from '../../shared/connection-store.ts';
import { shards } from '../../shared/dynamo.ts';
import { shardCount } from '../../shared/names.ts';
import { describeError, log, metric, reportOperatorError } from '../../shared/observability.ts';

export type SweepDeps = TokenDeps & {
  /** Whether there is time for another refresh. */
  timeLeft: () => boolean;
};

export type SweepReport = {
  refreshed: number;
  reauthorizationRequired: number;
  failed: number;
  /** Named by the index, but not due any more, or in somebody else's hands. */
  skipped: number;
  /** Why the sweep ended before all was done; what was left stays due. */
  endedEarly?: 'time' | 'operator' | 'storm';
};

const pageSize = 50;
/** Refreshes side by side in one sweep. */
const concurrency = 20;
/** So many failures, and more than successes, are an outage of Google's rather than of single connections. */
const stormAfter = 20;

/** Refreshes the connections that are due. Memory does not grow with their number: one page is held at a time. */
export async function refreshDueConnections(deps: SweepDeps): Promise<SweepReport> {
  const report: SweepReport = { refreshed: 0, reauthorizationRequired: 0, failed: 0, skipped: 0 };
  const now = deps.clock();
  for (const shard of shards(shardCount)) {
    let cursor: Cursor | undefined;
    do {
      const page = await deps.connections.due(shard, now, pageSize, cursor);
      await eachOf(page.userIds, concurrency, (userId) => refreshOne(deps, userId, now, report));
      cursor = page.cursor;
    } while (cursor && !report.endedEarly);
    if (report.endedEarly) break;
  }
  log.info('Refresh sweep', report);
  metric('RefreshSweepFailures', report.failed);
  return report;
}

async function refreshOne(deps: SweepDeps, userId: string, now: number, report: SweepReport): Promise<void> {
  if (!deps.timeLeft()) report.endedEarly ??= 'time';
  if (report.endedEarly) return;
  try {
    const connection = await deps.connections.get(userId);
    const isDue =
      connection?.status === 'active' && (connection.refreshAt ?? Number.POSITIVE_INFINITY) <= now;
    if (!isDue || (connection.leaseUntil ?? 0) > now) {
      report.skipped++;
      return;
    }
    await refresh(deps, connection, { used: false });
    report.refreshed++;
  } catch (error) {
    noteFailure(error, userId, report);
  }
}

function noteFailure(error: unknown, userId: string, report: SweepReport): void {
  if (hasCode(error, 'reauthorization_required')) {
    report.reauthorizationRequired++;
    return;
  }
  report.failed++;
  log.warn('Connection was not refreshed', { userId, error: describeError(error) });
  if (hasCode(error, 'google_client_misconfigured', 'not_configured')) {
    if (!report.endedEarly)
      reportOperatorError('No token can be refreshed until the service is set up', error);
    report.endedEarly = 'operator';
  } else if (isOperatorError(error)) {
    reportOperatorError('A token cannot be refreshed', error);
  } else if (report.failed >= stormAfter && report.failed > report.refreshed) {
    report.endedEarly ??= 'storm';
  }
}

/** Runs `work` over `items`, at most `width` at a time. */
async function eachOf<T>(items: T[], width: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  const lane = async (): Promise<void> => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: width }, lane));
}
