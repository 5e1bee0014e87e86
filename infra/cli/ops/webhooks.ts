/** `ops webhooks`: how many webhooks were verified, ignored and rejected, and why. */
import { rejections } from '../../../functions/payment-confirmed/accept-webhook.ts';
import { providers } from '../../../functions/payment-confirmed/providers.ts';
import { secretPositions } from '../../operator-reference.ts';
import { ignoredWebhooks } from '../../reference.ts';
import { type MetricQuery, total } from './metrics.ts';
import type { Target } from './target.ts';

/** `reason`: the code of a rejection, or why an event is ignored. */
type Counted = {
  outcome: 'verified' | 'ignored' | 'rejected';
  provider?: string;
  reason?: string;
  count: number;
};

type Kind = { as: Omit<Counted, 'count'>; query: MetricQuery };

const verified = (provider: string, secret: string): Kind => ({
  as: { outcome: 'verified', provider },
  query: { name: 'WebhookVerified', dimensions: { provider, secret }, statistic: 'Sum' },
});
const ignored = (reason: string): Kind => ({
  as: { outcome: 'ignored', reason },
  query: { name: 'WebhookIgnored', dimensions: { reason }, statistic: 'Sum' },
});
const rejected = (provider: string, code: string): Kind => ({
  as: { outcome: 'rejected', provider, reason: code },
  query: { name: 'WebhookRejected', dimensions: { provider, code }, statistic: 'Sum' },
});

/** Every kind of webhook that is counted, with its metric. */
export const webhookKinds: Kind[] = [
  ...providers.flatMap(({ name: provider }) => secretPositions.map((secret) => verified(provider, secret))),
  ...Object.keys(ignoredWebhooks).map(ignored),
  ...providers.flatMap(({ name: provider }) => rejections.map((code) => rejected(provider, code))),
];

/** Webhooks of the last `days`. Only those that occurred are listed. */
export async function countWebhooks({ metrics }: Target, now: number, days: number): Promise<Counted[]> {
  const period = 86_400;
  const series = await metrics(
    webhookKinds.map(({ query }) => query),
    { from: now - days * period, to: now, period },
  );
  const counts = new Map<string, Counted>();
  webhookKinds.forEach(({ as }, index) => {
    const count = total(series[index]);
    const key = JSON.stringify(as);
    if (count > 0) counts.set(key, { ...as, count: count + (counts.get(key)?.count ?? 0) });
  });
  return [...counts.values()];
}
