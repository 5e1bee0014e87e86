import { type Cursor, shards } from '../../shared/aws/dynamo.ts';
import { newLease, refreshUnderLease, type TokenDeps } from '../../shared/connection/access-token.ts';
import { revokeGrant } from '../../shared/connection/revocation.ts';
import { hasCode, isOperatorError } from '../../shared/lib/app-error.ts';
import { forEachConcurrent } from '../../shared/lib/for-each-concurrent.ts';
import { describeError, log, metric, reportOperatorError } from '../../shared/lib/observability.ts';

export type SweepDeps = TokenDeps & {
  indexShards: number;
  /** Concurrent refreshes. */
  concurrency: number;
  /** Whether there is time for another refresh. */
  timeLeft: () => boolean;
};

export type SweepReport = {
  refreshed: number;
  revoked: number;
  reauthorizationRequired: number;
  failed: number;
  /** Listed by the index, but no longer due, or leased by another worker. */
  skipped: number;
  /** Failures with an OAuth error that this service does not know. */
  unknownOAuthErrors: number;
  /** Why the sweep ended early; the remaining connections stay due. */
  endedEarly?: 'time' | 'operator' | 'outage';
};

const pageSize = 100;
/** Failures, if more than successes, after which Google is considered unavailable. */
const outageThreshold = 20;
/** Connections with an unknown OAuth error in one sweep after which the cause is probably this service. */
const unknownFromOperator = 5;

/**
 * Refreshes due connections and revokes due grants. Memory is bounded: two pages of ids are held at a time.
 */
export async function refreshDueConnections(deps: SweepDeps): Promise<SweepReport> {
  const report: SweepReport = {
    refreshed: 0,
    revoked: 0,
    reauthorizationRequired: 0,
    failed: 0,
    skipped: 0,
    unknownOAuthErrors: 0,
  };
  await forEachConcurrent(dueUserIds(deps, report), deps.concurrency, (userId) =>
    handleOne(deps, userId, report),
  );
  log.info('Sweep ended', report);
  metric('RefreshSweepFailures', report.failed);
  return report;
}

/** Users with a due connection, until the sweep ends. */
async function* dueUserIds(deps: SweepDeps, report: SweepReport): AsyncGenerator<string> {
  for await (const userIds of prefetch(duePages(deps))) {
    for (const userId of userIds) {
      if (!deps.timeLeft()) report.endedEarly ??= 'time';
      if (report.endedEarly) return;
      yield userId;
    }
  }
}

/** A page of each shard in turn, which spreads the writes; no shard is always last when time runs out. */
async function* duePages(deps: SweepDeps): AsyncGenerator<string[]> {
  const now = deps.clock();
  const unread: { shard: string; cursor?: Cursor }[] = shards(deps.indexShards).map((shard) => ({ shard }));
  for (let next = unread.shift(); next; next = unread.shift()) {
    const { shard } = next;
    const { userIds, cursor } = await deps.connections.listDue(shard, now, pageSize, next.cursor);
    if (cursor) unread.push({ shard, cursor });
    yield userIds;
  }
}

/** The same pages, each read while the one before is processed. */
async function* prefetch<T>(pages: AsyncGenerator<T>): AsyncGenerator<T> {
  let next = pages.next();
  for (;;) {
    const page = await next;
    if (page.done) return;
    next = pages.next();
    // A failure is thrown where the page is awaited, which does not happen after an early end.
    next.catch(() => {});
    yield page.value;
  }
}

/** Refreshes or revokes one connection, with two calls to the table: the lease and the result. */
async function handleOne(deps: SweepDeps, userId: string, report: SweepReport): Promise<void> {
  try {
    const connection = await deps.connections.acquireLeaseIfDue(userId, newLease(deps));
    if (!connection) {
      report.skipped++;
      return;
    }
    const { revocation } = connection;
    if (revocation && (await revokeGrant(deps, { ...connection, revocation })) === 'done') report.revoked++;
    if (connection.status === 'disconnected' && !revocation)
      await deps.connections.deleteRetained(connection);
    if (connection.status !== 'active') return;
    await refreshUnderLease(deps, connection, { used: false });
    report.refreshed++;
  } catch (error) {
    recordFailure(error, userId, report);
  }
}

function recordFailure(error: unknown, userId: string, report: SweepReport): void {
  if (hasCode(error, 'reauthorization_required')) {
    report.reauthorizationRequired++;
    return;
  }
  report.failed++;
  log.warn('Connection not refreshed', { userId, error: describeError(error) });
  if (hasCode(error, 'google_oauth_error') && ++report.unknownOAuthErrors === unknownFromOperator)
    reportOperatorError('Many connections get an unknown OAuth error', error);
  if (hasCode(error, 'google_client_misconfigured', 'not_configured')) {
    if (!report.endedEarly) reportOperatorError('Sweep stopped, service is not set up', error);
    report.endedEarly = 'operator';
  } else if (isOperatorError(error)) {
    reportOperatorError('Token cannot be refreshed', error);
  } else if (report.failed >= outageThreshold && report.failed > report.refreshed) {
    report.endedEarly ??= 'outage';
  }
}
