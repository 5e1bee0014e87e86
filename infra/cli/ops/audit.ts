/** `ops audit`: the audit of bookings and calendars in the operator's process. It reads Google, and stores findings. */
import { type AuditDeps, audit, type Progress, resolveFindings } from '../../../shared/audit/audit.ts';
import { pointerReader } from '../../../shared/audit/payments.ts';
import { auditProgress, type StoredProgress } from '../../../shared/audit/progress.ts';
import { secret } from '../../../shared/aws/secrets.ts';
import {
  type FindingStore,
  findingStore,
  isOfPayment,
  type StoredFinding,
} from '../../../shared/booking/findings.ts';
import { parseKeys } from '../../../shared/crypto/keys.ts';
import { parseGoogleClient } from '../../../shared/google/client-secret.ts';
import { googleEndpoints } from '../../../shared/google/endpoints.ts';
import { lightFetch } from '../../../shared/google/light-fetch.ts';
import { googleTokens } from '../../../shared/google/token-endpoint.ts';
import { systemClock, systemRandom, systemSleep } from '../../../shared/lib/clock.ts';
import { setLogSink } from '../../../shared/lib/observability.ts';
import { changeBooking } from './changes.ts';
import type { Records } from './records.ts';
import { type Advice, adviceOn, byHand, repaired } from './repair.ts';
import { repairPayment } from './repair-payment.ts';
import { secretText, type Target } from './target.ts';

/** Users side by side, and calls to Google at most. */
const concurrency = 5;
const callBudget = 100_000;

export function findingsOf({ dynamo, output, indexShards }: Target): FindingStore {
  return findingStore(dynamo, output('BookingsTableName'), indexShards);
}

/** An open finding, and what can be done about it. */
export type OpenFinding = StoredFinding & Advice;

/** Open findings, at most `limit`. */
export async function openFindings(
  target: Target,
  { bookings }: Records,
  limit: number,
): Promise<OpenFinding[]> {
  const found: OpenFinding[] = [];
  for await (const finding of findingsOf(target).open()) {
    const { bookingId } = finding;
    const booking = bookingId === undefined ? undefined : await bookings.get(bookingId);
    found.push({ ...finding, ...adviceOn(finding, booking) });
    if (found.length === limit) break;
  }
  return found;
}

/** The last run of the scheduled audit. */
export function lastAudit({ dynamo, output }: Target): Promise<StoredProgress | undefined> {
  return auditProgress(dynamo, output('BookingsTableName')).get();
}

/** Compares the bookings that start from `from` to `to` (epoch seconds) with the calendars. */
export async function runAudit(
  target: Target,
  records: Records,
  { from, to }: Pick<Progress, 'from' | 'to'>,
): Promise<Progress & { open: number }> {
  // What a run logs of a user is counted in its answer.
  setLogSink(() => {});
  const findings = findingsOf(target);
  const deps = auditDeps(target, records, (finding) => findings.record(finding, systemClock()));
  const startedAt = systemClock();
  const counts = { users: 0, unread: 0, bookings: 0, waiting: 0, findings: 0 };
  const done = await audit(deps, { startedAt, from, to, ...counts });
  const { open } = await resolveFindings(deps, findings, startedAt);
  return { ...done, open };
}

function auditDeps(target: Target, { bookings, connections }: Records, found: AuditDeps['found']): AuditDeps {
  const endpoints = googleEndpoints(target.googleUrl ?? '');
  const client = () => secretText(target, 'GoogleOauthClientSecret');
  const keys = () => secretText(target, 'TokenEncryptionSecret');
  return {
    bookings,
    connections,
    pointers: pointerReader(target.dynamo, target.output('BookingsTableName'), target.indexShards),
    google: googleTokens(endpoints),
    googleClient: secret('client', parseGoogleClient, systemClock, client),
    tokenKeys: secret('keys', (text) => parseKeys('token-encryption', text), systemClock, keys),
    calendar: { fetch: lightFetch, baseUrl: endpoints.calendar },
    // A connection that turns out to be broken is left to the service, which says so on its bus.
    bus: { publish: () => Promise.reject(new Error('The operator publishes nothing.')) },
    clock: systemClock,
    random: systemRandom,
    sleep: systemSleep,
    ...target.policies,
    concurrency,
    callBudget,
    timeLeft: () => true,
    found,
    saveProgress: async () => {},
  };
}

/** Hands the booking of a finding to sync, or its payment to the queue. Throws where a person must do it. */
export async function repairFinding(
  place: Parameters<typeof changeBooking>[0],
  findingId: string,
): Promise<{ bookingId?: string | undefined; says: string }> {
  const { target, records } = place;
  const finding = await findingsOf(target).get(findingId);
  if (!finding) throw new Error(`There is no finding "${findingId}". See: ops findings.`);
  if (finding.resolvedAt !== undefined) throw new Error('It is resolved already. Nothing was changed.');
  const { bookingId } = finding;
  if (isOfPayment(finding)) {
    await repairPayment(target, records, finding);
    return { bookingId, says: `the payment ${finding.paymentId} is on the queue again` };
  }
  if (!(await records.bookings.get(finding.bookingId))) throw new Error(byHand.unknown);
  await changeBooking(place, finding.bookingId, (booking, operator) => repaired(finding, booking, operator));
  return { bookingId, says: `sync compares ${bookingId} with its calendar` };
}
