/**
 * Google in a process of its own: it fails and loses responses as configured, and acknowledged writes survive
 * kills.
 */
import type { FaultEffect } from '../../infra/local/google/faults.ts';
import { startGoogleSimulator } from '../../infra/local/google/simulator.ts';
import { type GoogleSettings, ready } from './processes.ts';

const settings = JSON.parse(process.argv[2] as string) as GoogleSettings;
const { port, stateFile, client, accounts, errors, lost, accessTokenSeconds, seed } = settings;

const { control } = await startGoogleSimulator({ port, stateFile, clients: [client], accounts });
control.setSwitch('accessTokenSeconds', accessTokenSeconds);

const calendarErrors: FaultEffect[] = [
  ...Array<FaultEffect>(4).fill({ status: 500, reason: 'backendError' }),
  ...Array<FaultEffect>(4).fill({ status: 503, html: true }),
];
// Once in each life of Google: each pauses a user's calendar for up to two minutes, and the run must end.
const rateLimits: FaultEffect[] = [
  { status: 429, reason: 'rateLimitExceeded' },
  { status: 403, reason: 'userRateLimitExceeded' },
];
const tokenErrors: FaultEffect[] = [{ status: 500 }, { status: 503, html: true }];
rateLimits.forEach((how, index) => {
  control.fail({ on: 'events', times: 1, after: 10 * (index + 1), how });
});
plan('events', calendarErrors);
plan('token', tokenErrors);
ready();

/** The first fault drawn applies, so each probability is relative to the rest after earlier ones. */
function plan(on: 'events' | 'token', kinds: FaultEffect[]): void {
  let left = 1;
  const add = (share: number, how: FaultEffect) => {
    if (share === 0) return;
    control.fail({ on, probability: share / left, seed: Math.floor(seed * 1000 + left * 997), how });
    left -= share;
  };
  for (const how of kinds) add(errors / kinds.length, how);
  add(lost, { lose: 'response' });
}
