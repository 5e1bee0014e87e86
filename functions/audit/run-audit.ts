import { type AuditDeps, audit, type Progress, resolveFindings } from '../../shared/audit/audit.ts';
import type { AuditProgress, StoredProgress } from '../../shared/audit/progress.ts';
import type { FindingStore } from '../../shared/booking/findings.ts';
import { AppError } from '../../shared/lib/app-error.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { log, metric } from '../../shared/lib/observability.ts';

type Deps = Omit<AuditDeps, 'found' | 'saveProgress'> & {
  findings: Pick<FindingStore, 'record' | 'open' | 'resolve'>;
  progress: AuditProgress;
};

/** `open`: findings that are left, where that was looked up. */
type AuditReport = Progress & { open?: number };

const day = 86_400;
/** Seconds from the start of one run to that of the next. */
const interval = day;
/** The appointments that a run compares: those of last week, for refunds, and those ahead. */
const range = { before: 7 * day, ahead: 60 * day };

/**
 * Compares all bookings with the calendars once a day, in as many invocations as it takes: each goes on where the one
 * before has ended. In between it looks again at what is open, so that what was repaired is resolved within the hour.
 */
export async function runAudit(deps: Deps): Promise<AuditReport> {
  const stored = await deps.progress.get();
  const now = deps.clock();
  const isDone = stored?.finishedAt !== undefined;
  if (stored && isDone && now < stored.startedAt + interval) return recheck(deps, stored);

  const run: { latest: StoredProgress; open?: number } = {
    latest: stored && !isDone ? stored : { ...newProgress(now), version: stored?.version ?? 0 },
  };
  const before = run.latest.users;
  const done = await audit(
    {
      ...deps,
      found: (finding) => deps.findings.record(finding, deps.clock()),
      async saveProgress(progress) {
        // Published before it is stored: after a crash in between, the next run publishes the same event again.
        if (progress.finishedAt !== undefined) run.open = await complete(deps, progress);
        await save(deps, run, progress);
      },
    },
    run.latest,
  );
  metric('UsersAudited', done.users - before);
  log.info('Audit ended', done);
  return run.open === undefined ? done : { ...done, open: run.open };
}

function newProgress(now: number): Progress {
  const counts = { users: 0, unread: 0, bookings: 0, waiting: 0, findings: 0 };
  return { startedAt: now, from: now - range.before, to: now + range.ahead, ...counts };
}

async function recheck(deps: Deps, stored: StoredProgress): Promise<AuditReport> {
  const { open } = await resolveFindings(deps, deps.findings, deps.clock());
  metric('UsersAudited', 0);
  metric('AuditFindings', open);
  return { ...stored, open };
}

/** Resolves what the run has not seen again, and says what is left. */
async function complete(deps: Deps, progress: Progress): Promise<number> {
  const { open } = await resolveFindings(deps, deps.findings, progress.startedAt);
  const { startedAt, from, to, users, unread, bookings, waiting } = progress;
  metric('AuditFindings', open);
  await deps.bus.publish({
    type: 'audit.completed',
    id: `audit.completed:${startedAt}`,
    time: toIso(deps.clock()),
    from: toIso(from),
    to: toIso(to),
    users,
    unreadUsers: unread,
    bookings,
    waitingBookings: waiting,
    openFindings: open,
  });
  return open;
}

/** Another run beside this one ends it: both would count the same users. */
async function save(deps: Deps, run: { latest: StoredProgress }, progress: Progress): Promise<void> {
  const { version } = run.latest;
  if (!(await deps.progress.save({ ...progress, version }))) {
    throw new AppError('concurrent_update', 'Another run of the audit has gone on.', { retryable: true });
  }
  run.latest = { ...progress, version: version + 1 };
}
