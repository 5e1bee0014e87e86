/** Prints one line for each event of a running local stack. */
import { routes, webhookRoute } from '../../shared/lib/names.ts';
import type { BusEvent } from '../local/aws/event-bus.ts';
import type { LogLine } from '../local/aws/functions.ts';
import type { Access } from '../local/aws/http-api.ts';

type Narrator = {
  onAccess(access: Access): void;
  onEvent(event: BusEvent): void;
  onLog(line: LogLine): void;
};

const texts: Record<string, string> = {
  [`GET ${routes.connect}`]: 'sent a browser to Google',
  [`GET ${routes.callback}`]: 'Google sent a browser back',
};

/** @param print prints a line */
export function createNarrator(print: (line: string) => void): Narrator {
  return {
    onAccess({ method, path, status, ms }) {
      const text = path.startsWith(webhookRoute('')) ? 'payment webhook' : texts[`${method} ${path}`];
      print(`  → ${method} ${path} ${status} in ${ms.toFixed(0)} ms${text ? `  (${text})` : ''}`);
    },
    onEvent({ detailType, detail }) {
      const names = ['userId', 'bookingId', 'reason', 'code'] as const;
      const about = names.flatMap((name) => (detail[name] ? [`${name} ${detail[name]}`] : []));
      const [problem] = (detail.problems ?? []) as { message?: string }[];
      print(`  ● ${detailType}  ${about.join(', ')}${problem ? `: ${problem.message}` : ''}`);
    },
    onLog({ functionName, stream, text }) {
      if (stream === 'platform') return print(`  ✗ ${functionName}: ${text}`);
      const entry = parse(text);
      if (entry?.message === 'Booking synced' && entry.status === 'pending' && entry.problem)
        return print(`  ✗ booking ${entry.bookingId}: attempt failed (${entry.problem}), it is tried again`);
      if (entry?.level !== 'ERROR' && entry?.level !== 'WARN') return;
      const reason = entry.error?.message ? ` (${entry.error.message})` : '';
      print(`  ✗ ${functionName}: ${entry.message}${reason}`);
    },
  };
}

type LogEntry = {
  level?: string;
  message?: string;
  error?: { message?: string };
  bookingId?: string;
  status?: string;
  problem?: string;
};

/** The functions log JSON; other lines come from libraries. */
function parse(text: string): LogEntry | undefined {
  try {
    return JSON.parse(text) as LogEntry;
  } catch {
    return undefined;
  }
}
