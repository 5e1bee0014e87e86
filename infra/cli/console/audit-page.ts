import { html } from 'hono/html';
import { toIso } from '../../../shared/lib/clock.ts';
import { lastAudit, type OpenFinding, openFindings } from '../ops/audit.ts';
import { checkRecovery } from '../ops/doctor-services.ts';
import { fields, type Section } from '../ops/print.ts';
import { bookingLink, type Html, paymentLink, sectionHtml, tableHtml, userLink } from './layout.ts';
import type { Place } from './pages.ts';

const most = 100;

/** What accounts for every payment: the last audit, what it has found, and the recovery of lost webhooks. */
export async function auditPage({ target, records, now, formToken }: Place): Promise<{
  title: string;
  content: Html;
}> {
  const [last, open, recovery] = await Promise.all([
    lastAudit(target),
    openFindings(target, records, most),
    checkRecovery(target, now).catch((error: Error) => ({ is: 'warning', says: error.message })),
  ]);
  const content = html`<div class="columns">${sectionHtml(runSection(last))}
    <section><h2>Recovery of lost webhooks</h2><p><span class="status ${recovery.is}">${recovery.is}</span> ${recovery.says}</p></section></div>
    <section><h2>Open findings</h2>${findingsOf(open, formToken)}</section>`;
  return { title: 'Audit', content };
}

function runSection(last: Awaited<ReturnType<typeof lastAudit>>): Section {
  if (!last) return { heading: 'Last run', lines: ['The audit has not run yet: it runs once a day.'] };
  return fields('Last run', {
    begun: toIso(last.startedAt),
    finished: last.finishedAt === undefined ? 'not yet: it goes on within the hour' : toIso(last.finishedAt),
    appointments: `from ${toIso(last.from)} to ${toIso(last.to)}`,
    users: `${last.users}, ${last.unread} of them unread`,
    bookings: `${last.bookings}, ${last.waiting} of them wait`,
  });
}

function findingsOf(open: OpenFinding[], formToken: string): Html {
  const rows = open.map(({ findingId, kind, firstSeenAt, userId, advice, canRepair, ...about }) => [
    toIso(firstSeenAt),
    kind.replaceAll('_', ' '),
    'paymentId' in about ? paymentLink(about.paymentId) : bookingLink(about.bookingId),
    userId === undefined ? '?' : userLink(userId),
    canRepair
      ? html`${advice}<form method="post" action="/finding/${encodeURIComponent(findingId)}/repair"><input type="hidden" name="token" value="${formToken}"><button>Repair</button></form>`
      : advice,
  ]);
  const columns = ['since', 'kind', 'booking or payment', 'user', 'what you can do'];
  return tableHtml('Open findings', columns, rows, 'Nothing is open.');
}
