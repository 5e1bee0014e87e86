/** `ops doctor`: every precondition of a deployment, one line each, with what to do. */

import { setTimeout } from 'node:timers/promises';
import * as v from 'valibot';
import { parseWebhookSecrets } from '../../../functions/payment-confirmed/webhook-secrets.ts';
import { parseKeys } from '../../../shared/crypto/keys.ts';
import { type GoogleClient, parseGoogleClient } from '../../../shared/google/client-secret.ts';
import { googleEndpoints } from '../../../shared/google/endpoints.ts';
import { type KeyPurpose, routes } from '../../../shared/lib/names.ts';
import { setLogSink } from '../../../shared/lib/observability.ts';
import { parseJson } from '../../../shared/lib/schemas.ts';
import { longestDueSeconds } from '../../operator-reference.ts';
import { countDeadLetters } from './dead-letters.ts';
import {
  checkAudit,
  checkRecovery,
  checkSchedules,
  checkServiceLevel,
  checkStripe,
  checksOfAws,
  checkWebhooks,
} from './doctor-services.ts';
import { failure, pass, type Result, warning } from './finding.ts';
import type { Records } from './records.ts';
import { keyOutputs, secretText, type Target } from './target.ts';

export type Finding = Result & { check: string };

const checkSeconds = 15;

/** Runs every check. One that throws is a failure, and hides no other. */
export async function examine(target: Target, records: Records, now: number): Promise<Finding[]> {
  // What a check reports to the operator is in its finding.
  setLogSink(() => {});
  const checks: [string, () => Promise<Result>][] = [
    ['API', () => checkApi(target)],
    ...Object.entries(keyOutputs).map(([purpose, output]): [string, () => Promise<Result>] => [
      `secret ${purpose}`,
      async () => {
        parseKeys(purpose as KeyPurpose, await secretText(target, output));
        return pass('its keys can be read');
      },
    ]),
    ['secret webhook-signing', () => ofWebhook(target, checkWebhookSecret)],
    ['Google client', () => checkGoogleClient(target)],
    ['Stripe', () => checkStripe(target)],
    ['recovery', () => checkRecovery(target, now)],
    ['audit', () => checkAudit(target, now)],
    ['webhooks', () => checkWebhooks(target, now)],
    ['schedules', () => checkSchedules(target, now)],
    ['dead letters', () => checkDeadLetters(target)],
    ['due bookings', () => checkDue(records, now)],
    ['failed bookings', () => checkFailed(records)],
    ['service level', () => checkServiceLevel(target, now)],
    ...checksOfAws(target),
  ];
  return Promise.all(
    checks.map(async ([check, run]) => {
      try {
        return { check, ...(await inTime(run())) };
      } catch (error) {
        return { check, ...unfinished(error as Error) };
      }
    }),
  );
}

/** A service that does not answer must not hold up the other checks. */
async function inTime(checking: Promise<Result>): Promise<Result> {
  const late = failure(`No answer within ${checkSeconds} seconds: is the network or the service down?`);
  return Promise.race([checking, setTimeout(checkSeconds * 1000, late, { ref: false })]);
}

/** A check that the operator may not run says nothing of the deployment. */
function unfinished({ name, message }: Error): Result {
  if (/AccessDenied|AuthorizationError|NotAuthorized/.test(name)) {
    return warning(`Not checked, your credentials lack a permission: ${message}`);
  }
  return failure(message);
}

async function checkApi({ output }: Target): Promise<Result> {
  const url = `${output('ApiUrl')}${routes.health}`;
  const answer = await fetch(url, { signal: AbortSignal.timeout(10_000) }).catch(() => undefined);
  if (answer?.ok) return pass(`${url} answers`);
  return failure(
    `${url} ${answer ? `answers ${answer.status}` : 'does not answer'}: see the access log, and whether the domain and its certificate lead to the API.`,
  );
}

/** Without signing secrets, payments may still come by Stripe's event bus. */
async function ofWebhook(target: Target, check: (target: Target) => Promise<Result>): Promise<Result> {
  try {
    return await check(target);
  } catch (error) {
    if (!target.outputs.StripeEventSource) throw error;
    return warning(`Payments come by Stripe's event bus only: ${(error as Error).message}`);
  }
}

async function checkWebhookSecret(target: Target): Promise<Result> {
  const problems: string[] = [];
  setLogSink((line) => problems.push(line));
  const secrets = parseWebhookSecrets(await secretText(target, 'WebhookSigningSecret'));
  setLogSink(() => {});
  const entries = Object.entries(secrets).flatMap(([name, list]) =>
    list?.length ? [`${name}: ${list.length}`] : [],
  );
  return problems.length > 0
    ? warning(`An entry cannot be used and is ignored; these can: ${entries.join(', ')}. See docs/setup.md.`)
    : pass(entries.join(', '));
}

const oauthError = v.object({ error: v.string() });

/** Redeems a code that does not exist: Google's error says whether it accepts the client and its redirect URI. */
async function checkGoogleClient(target: Target): Promise<Result> {
  const client: GoogleClient = parseGoogleClient(await secretText(target, 'GoogleOauthClientSecret'));
  const redirectUri = target.output('CallbackUrl');
  const answer = await fetch(googleEndpoints(target.googleUrl ?? '').token, {
    method: 'POST',
    signal: AbortSignal.timeout(10_000),
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      code: 'doctor',
      client_id: client.clientId,
      client_secret: client.clientSecret,
      redirect_uri: redirectUri,
    }),
  }).catch(() => undefined);
  const read = v.safeParse(oauthError, parseJson((await answer?.text()) ?? ''));
  const error = read.success ? read.output.error : undefined;
  switch (error) {
    case 'invalid_grant':
      return pass('Google accepts it');
    case 'invalid_client':
    case 'unauthorized_client':
      return failure(
        'Google does not know it, or its secret: store the JSON file of the client as the Google Cloud console offers it.',
      );
    case 'redirect_uri_mismatch':
      return failure(
        `Add ${redirectUri} to the authorized redirect URIs of the client in the Google Cloud console.`,
      );
    default:
      return warning(
        `Google's token endpoint ${error ? `answers ${error}` : 'does not answer as expected'}: try again.`,
      );
  }
}

async function checkDeadLetters(target: Target): Promise<Result> {
  const count = await countDeadLetters(target);
  return count === 0 ? pass('none') : failure(`${count}: ops dead-letters shows them`);
}

async function checkDue(records: Records, now: number): Promise<Result> {
  const [oldest] = await records.due(now, 1);
  const delay = oldest ? now - oldest.at : 0;
  if (!oldest || delay <= longestDueSeconds) return pass('none waits longer than 5 minutes');
  return failure(
    `${oldest.bookingId} has been due for ${Math.round(delay / 60)} minutes: booking-reconcile or booking-sync does not run. See their logs.`,
  );
}

async function checkFailed(records: Records): Promise<Result> {
  const most = 25;
  const { length } = await records.attention('failed', most);
  if (length === 0) return pass('none');
  return warning(`${length === most ? `at least ${most}` : length}: ops list failed`);
}
