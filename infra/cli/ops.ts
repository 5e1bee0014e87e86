/** `npm run ops`: what an operator asks and does. */
import { createInterface } from 'node:readline/promises';
import { parseArgs } from 'node:util';
import { restored, retried } from '../../functions/bookings/operator-changes.ts';
import type { Booking } from '../../shared/booking/booking.ts';
import { accountIdsOf } from '../../shared/booking/payment-accounts.ts';
import type { RevocationOutcome } from '../../shared/connection/revocation.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { isIdentifier } from '../../shared/lib/schemas.ts';
import { defaultStateDir } from '../local/state-files.ts';
import { nearestTo } from '../nearest.ts';
import { runCommand } from './command.ts';
import { type OpenFinding, openFindings, repairFinding, runAudit } from './ops/audit.ts';
import { changeBooking, known, releaseUser } from './ops/changes.ts';
import { type DeadLetter, receive, redrive } from './ops/dead-letters.ts';
import { examine } from './ops/doctor.ts';
import { eraseUser, type KeptPayment, surveyOf } from './ops/erase.ts';
import { exportUser } from './ops/export.ts';
import { findAll } from './ops/find.ts';
import { addKey, listKeys, openKeys, removeKey } from './ops/keys.ts';
import { asText, table } from './ops/print.ts';
import { listKinds, listOf, type Records, readAll, readPayment, recordsOf } from './ops/records.ts';
import { instantOf, recover } from './ops/recover.ts';
import { actionsOf, bookingStory, connectionFields, paymentStory, userStory } from './ops/stories.ts';
import { openTarget, type Target } from './ops/target.ts';
import { signingKeys, tokenFor } from './ops/token.ts';
import { eventsKey, post, receiveUndelivered, type Undelivered } from './ops/undelivered.ts';
import { countWebhooks } from './ops/webhooks.ts';

const help = `Finds and repairs bookings, payments and users.

  npm run ops -- <command> --local           the local stack (npm start)
  npm run ops -- <command> --env staging     a deployed one, with your AWS credentials

Ask
  doctor                   checks every precondition, and says what to do
  find <text>              a booking, payment or user: by id, or by the address of a Google account
  booking <id>             the full story of a booking: what is desired, what is there, why, what you can do
  payment <id>             what is known of a payment, and its booking
  user <id>                the connection of a user, and the bookings ahead
  list failed|missed|waiting|orphaned|due
  webhooks                 verified, ignored and rejected ones of the last 7 days, with the reasons
  audit                    compares bookings of the next 60 days with the calendars, and stores what differs;
                           --from and --to say another range (RFC 3339)
  findings                 what the audit has found and is not resolved
  undelivered              events that the receiver at eventsUrl did not take
  dead-letters             messages that could not be processed

Do: hands over to the service, which does it; the timeline of the booking says who asked
  retry <booking>          tries a booking again at once, or reads again what its payment says;
                           --user <id> says whose it is where the payment does not
  restore <booking>        creates an event again that its owner has deleted, or that came too late
  repair <finding>         has sync compare the booking of a finding with its calendar, and put it right
  release <user>           tries all bookings that wait for this user's connection
  dead-letters --redrive   back into the queue
  undelivered --post       once more to the receiver
  recover --since <date>   payments of Stripe's events, of up to 30 days, whose webhook did not arrive; --until <date>

People: what is stored about a user
  export <user>            all of it as JSON, without tokens: --out <file> for a file that only you can read
  erase <user>             asks, then erases it: the grant at Google, and all but the payments. --yes does not ask

Keys and tokens
  keys list                the keys; of token-encryption with the number of connections that need each
  keys rotate              adds a key, which is in use from 6 minutes later on
  keys retire <id>         removes a key that is no longer needed
    --secret <purpose>     token-encryption (Google's tokens in the table; the default), state-encryption (connection
                           attempts under way), link-signing and api-signing (what LeadsCalendar's backend signs),
                           payment-messages (payments in the queue)
    --now                  after a leak. rotate: use the new key at once. retire: wait for cached copies only
  token <user>             a bearer token for a user, valid for ten minutes; with --link a connect link
  token --signing-keys     the two keys for LeadsCalendar's backend, as variables: secrets

  env                      the outputs, as shell variables: eval "$(npm run -s ops -- env --local)"

Options
  --json          for programs
  --limit <n>     how many a list shows (default: 25)
  --state <dir>   state of the local stack (default: .local)
  --help          print this`;

/** What a command answers: for people, and for programs. */
type Answer = { text: string; json: unknown; failed?: boolean };
type Options = {
  secret: string;
  now: boolean;
  link: boolean;
  'signing-keys': boolean;
  redrive: boolean;
  post: boolean;
  since?: string | undefined;
  until?: string | undefined;
  user?: string | undefined;
  from?: string | undefined;
  to?: string | undefined;
  out?: string | undefined;
  yes: boolean;
};
type Context = { target: Target; records: Records; now: number; limit: number; options: Options };
/** Answers undefined where it has written its answer itself. */
type Command = (context: Context, argument: string, second?: string) => Promise<Answer | undefined>;

const aUser = 'the id of a user';

/** `argument`: what a command needs after its name; `most`: how much it takes there. */
const commands: Record<string, { argument?: string; most?: number; run: Command }> = {
  doctor: { run: doctor },
  find: { argument: 'a text', run: find },
  booking: { argument: 'the id of a booking', run: showBooking },
  payment: { argument: 'the id of a payment', run: showPayment },
  user: { argument: aUser, run: showUser },
  list: { argument: listKinds.join(', '), run: listBookings },
  retry: { argument: 'the id of a booking', run: (context, id) => change(context, id, retried) },
  restore: { argument: 'the id of a booking', run: (context, id) => change(context, id, restored) },
  release: { argument: aUser, run: release },
  audit: { run: auditNow },
  findings: { run: showFindings },
  repair: { argument: 'the id of a finding', run: repair },
  webhooks: { run: webhooks },
  undelivered: { run: undelivered },
  'dead-letters': { run: deadLetters },
  recover: { run: recoverPayments },
  export: { argument: aUser, run: exportAll },
  erase: { argument: aUser, run: erase },
  keys: { argument: 'list, rotate or retire <id>', most: 2, run: keys },
  token: { most: 1, run: token },
  env: { run: async ({ target }) => ({ text: shellVariables(target), json: target.outputs }) },
};

const maxLimit = 100_000;

/** Days ahead that an audit compares. */
const auditDays = 60;

/** What became of the grant of an erased user. */
const revocations: Record<RevocationOutcome | 'none', string> = {
  done: 'Google has revoked the grant.',
  shared: 'The grant stays: another user is connected to the same Google account.',
  pending:
    'Google has not revoked the grant yet: token-refresh tries for a day, with tokens that are kept until then.',
  abandoned: 'Google did not revoke the grant: the user can, at myaccount.google.com/permissions.',
  none: 'There was no grant to revoke.',
};

/** Seconds for which a message is hidden from others while it is shown, and while it is moved. */
const hidden = { show: 5, move: 60 };

await runCommand(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      local: { type: 'boolean', default: false },
      env: { type: 'string' },
      state: { type: 'string', default: defaultStateDir },
      json: { type: 'boolean', default: false },
      limit: { type: 'string', default: '25' },
      redrive: { type: 'boolean', default: false },
      post: { type: 'boolean', default: false },
      since: { type: 'string' },
      until: { type: 'string' },
      user: { type: 'string' },
      from: { type: 'string' },
      to: { type: 'string' },
      secret: { type: 'string', default: 'token-encryption' },
      now: { type: 'boolean', default: false },
      link: { type: 'boolean', default: false },
      'signing-keys': { type: 'boolean', default: false },
      out: { type: 'string' },
      yes: { type: 'boolean', default: false },
      help: { type: 'boolean' },
    },
  });
  const [name, ...given] = positionals;
  if (values.help || name === undefined) return console.log(help);
  const run = commandOf(name, given);
  const limit = limitOf(values.limit);
  if (values.user !== undefined && (name !== 'retry' || !isIdentifier(values.user)))
    throw new Error('--user is the id of a user, for ops retry.');
  const target = await openTarget(values);
  const now = Math.floor(Date.now() / 1000);
  const context = { target, records: recordsOf(target), now, limit, options: values };
  const answer = await run(context, given[0] ?? '', given[1]).catch(explained);
  if (!answer) return;
  console.log(values.json ? JSON.stringify(answer.json, null, 2) : answer.text);
  if (answer.failed) process.exitCode = 1;
});

function commandOf(name: string, given: string[]): Command {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command) {
    const nearest = nearestTo(name, Object.keys(commands));
    throw new Error(`There is no command "${name}": did you mean ${nearest}? See npm run ops -- --help.`);
  }
  const { argument, most = argument ? 1 : 0 } = command;
  if (argument && given.length === 0) throw new Error(`ops ${name} needs ${argument}.`);
  if (argument === aUser && !isIdentifier(given[0]))
    throw new Error(`"${given[0]}" can be the id of no user: 1 to 128 characters of A-Z a-z 0-9 _ . : @ -`);
  if (given.length > most) throw new Error(`ops ${name} takes no "${given[most]}".`);
  return command.run;
}

function explained(error: unknown): never {
  const isRefused = error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED';
  throw isRefused
    ? new Error('Nothing answers there: does the local stack run? "npm start" starts it.', { cause: error })
    : error;
}

function limitOf(text: string): number {
  const limit = Number(text);
  if (Number.isInteger(limit) && limit >= 1 && limit <= maxLimit) return limit;
  throw new Error(`--limit is a whole number from 1 to ${maxLimit}, not "${text}".`);
}

async function doctor({ target, records, now }: Context): Promise<Answer> {
  const findings = await examine(target, records, now);
  const signs = { pass: '✓', warning: '!', failure: '✗' };
  const rows = findings.map(({ check, is, says }) => [signs[is], check, says]);
  const failed = findings.some(({ is }) => is === 'failure');
  return { text: table(['', 'check', 'result'], rows, ''), json: findings, failed };
}

async function find({ records }: Context, text: string): Promise<Answer> {
  const found = await findAll(records, text);
  const none = `Nothing has the id or address "${text}". A charge or session: see its payment intent (pi_…) at Stripe. Was its webhook accepted? ops webhooks`;
  const rows = found.map(({ what, id, says }) => [what, id, says]);
  return { text: table(['what', 'id', 'found'], rows, none), json: found, failed: found.length === 0 };
}

async function showBooking({ records }: Context, id: string): Promise<Answer> {
  const booking = await known(records, id);
  const connection = booking.userId === undefined ? undefined : await records.connections.get(booking.userId);
  return {
    text: asText(bookingStory(booking, connection)),
    json: { booking, connection: connection && connectionFields(connection), actions: actionsOf(booking) },
  };
}

async function showPayment({ records }: Context, id: string): Promise<Answer> {
  const { pointer, booking } = await readPayment(records, id);
  const story = asText(paymentStory(id, pointer, booking));
  const ids = pointer?.bookings?.bookingIds ?? (booking ? [booking.bookingId] : []);
  const more = ids.map((bookingId) => `\n\nIts booking: ops booking ${bookingId}`).join('');
  const json = {
    paymentId: id,
    facts: booking?.payments[id] ?? pointer?.facts,
    bookingIds: ids,
  };
  return { text: `${story}${more}`, json, failed: !pointer && !booking };
}

/** Shows each window on the way, so that a long run can be followed, and taken up where it ended. */
async function recoverPayments({ target, now, options }: Context): Promise<Answer> {
  const { since, until } = options;
  if (since === undefined) throw new Error('Since when? --since 2026-12-01');
  const time = { from: instantOf('since', since), to: until === undefined ? now : instantOf('until', until) };
  const sum = { read: 0, queued: 0, unusable: 0 };
  const scopes = new Set<string>();
  let reached = since;
  try {
    for await (const window of recover(target, time, now)) {
      const { mode, account = '', through, read, queued, unusable, isUnavailable } = window;
      scopes.add(`${mode} ${account}`);
      // With several scopes, those that follow have not begun.
      reached = scopes.size === 1 ? toIso(through) : since;
      sum.read += read;
      sum.queued += queued;
      sum.unusable += unusable;
      const what = isUnavailable ? 'no access to this account' : `${read} events, ${queued} queued`;
      process.stderr.write(`${mode} mode ${account && `${account} `}until ${toIso(through)}: ${what}\n`);
    }
  } catch (error) {
    throw new Error(`${(error as Error).message} Go on with: --since ${reached}`, { cause: error });
  }
  const unread = sum.unusable > 0 ? `, ${sum.unusable} that cannot be read` : '';
  return {
    text: `${sum.read} events read, ${sum.queued} queued${unread}. What was known already changes nothing.`,
    json: sum,
    failed: sum.unusable > 0,
  };
}

async function showUser({ records, now, limit }: Context, userId: string): Promise<Answer> {
  const connection = await records.connections.get(userId);
  const accountIds = accountIdsOf(await records.accounts.get(userId));
  const from = now - 86_400;
  const bookings: Booking[] = [];
  for await (const booking of records.bookingsOf(userId, from)) {
    bookings.push(booking);
    if (bookings.length === limit) break;
  }
  const more = bookings.length === limit ? `\n\nThe first ${limit}: --limit shows more.` : '';
  return {
    text: `${asText(userStory(userId, connection, accountIds, bookings))}${more}`,
    json: {
      userId,
      connection: connection && connectionFields(connection),
      paymentAccounts: accountIds,
      bookings,
    },
  };
}

async function listBookings({ records, now, limit }: Context, name: string): Promise<Answer> {
  const kind = listKinds.find((one) => one === name);
  if (!kind) {
    throw new Error(
      `There is no list "${name}": did you mean ${nearestTo(name, listKinds)}? There are ${listKinds.join(', ')}.`,
    );
  }
  const listed = await listOf(records, kind, now, limit);
  const found = await readAll(records, listed);
  const rows = found.map(({ booking, at }) => [
    toIso(at),
    booking.bookingId,
    booking.userId ?? '?',
    booking.status,
    booking.problems[0]?.code ?? '',
  ]);
  const more = listed.length === limit ? `\nThe first ${limit}: --limit shows more.` : '';
  return {
    text: `${table(['since', 'booking', 'user', 'status', 'problem'], rows, `No booking is ${kind}.`)}${more}`,
    json: found.map(({ booking, at }) => ({
      bookingId: booking.bookingId,
      since: toIso(at),
      status: booking.status,
    })),
  };
}

type Decide = Parameters<typeof changeBooking>[2];

async function change(context: Context, id: string, decide: Decide): Promise<Answer> {
  const { status } = await changeBooking(context, id, decide, context.options.user);
  return {
    text: `Handed over: ${id} is tried now. What became of it: ops booking ${id}`,
    json: { bookingId: id, status },
  };
}

async function auditNow({ target, records, now, options }: Context): Promise<Answer> {
  const from = options.from === undefined ? now : instantOf('from', options.from);
  const to = options.to === undefined ? from + auditDays * 86_400 : instantOf('to', options.to);
  const report = await runAudit(target, records, { from, to });
  const { users, unread, bookings, waiting, findings, open } = report;
  const next = open > 0 ? '\nSee: ops findings.' : '';
  return {
    text: `${users} users (${unread} unread), ${bookings} bookings (${waiting} wait), ${findings} findings, ${open} open.${next}`,
    json: report,
    failed: open > 0,
  };
}

async function showFindings({ target, records, limit }: Context): Promise<Answer> {
  const open = await openFindings(target, records, limit);
  const rows = open.map((finding) => [
    toIso(finding.firstSeenAt),
    finding.findingId,
    finding.kind,
    finding.bookingId ?? paymentOf(finding),
    finding.userId ?? '?',
    finding.advice,
  ]);
  const columns = ['since', 'finding', 'kind', 'booking', 'user', 'what you can do'];
  return { text: table(columns, rows, 'Nothing is open.'), json: open };
}

const paymentOf = (finding: OpenFinding): string => ('paymentId' in finding ? finding.paymentId : '?');

async function repair(context: Context, id: string): Promise<Answer> {
  const { bookingId, says } = await repairFinding(context, id);
  return {
    text: `Handed over: ${says}. What became of it: ops ${bookingId ? `booking ${bookingId}` : 'findings'}`,
    json: { findingId: id, bookingId },
  };
}

async function release(context: Context, userId: string): Promise<Answer> {
  await releaseUser(context, userId);
  return { text: `Handed over: all bookings of ${userId} that wait are tried now.`, json: { userId } };
}

/** Messages of a queue, some at a time, until there are no more or enough. `act` is done with each, and counted. */
async function takeAll<Message>(
  take: (hide: number) => Promise<Message[]>,
  limit: number,
  handle: { act: (message: Message) => Promise<void>; done: string } | undefined,
): Promise<Message[]> {
  const found: Message[] = [];
  while (found.length < limit) {
    const messages = await take(handle ? hidden.move : hidden.show);
    if (messages.length === 0) break;
    for (const message of messages) {
      await handle?.act(message);
      found.push(message);
    }
    if (handle) console.error(`${found.length} ${handle.done}`);
  }
  return found;
}

async function deadLetters({ target, limit, options }: Context): Promise<Answer> {
  const isMoving = options.redrive;
  const move = { act: (letter: DeadLetter) => redrive(target, letter), done: 'moved' };
  const found = await takeAll((hide) => receive(target, hide), limit, isMoving ? move : undefined);
  const rows = found.map(({ id, about, since }) => [new Date(since).toISOString(), id, about]);
  const next = isMoving
    ? 'Moved back into the queue.'
    : 'Why: the log of booking-sync, or stripe-events, says "Message stays in the queue". When the cause is repaired: ops dead-letters --redrive';
  return {
    text: `${table(['sent', 'message', 'about'], rows, 'No dead letters.')}${rows.length > 0 ? `\n\n${next}` : ''}`,
    json: found.map(({ id, about, since }) => ({ id, about, sentAt: new Date(since).toISOString() })),
  };
}

async function undelivered({ target, limit, options }: Context): Promise<Answer> {
  const key = options.post ? await eventsKey(target) : undefined;
  const posting = key && { act: (event: Undelivered) => post(target, event, key), done: 'posted' };
  const found = await takeAll((hide) => receiveUndelivered(target, hide), limit, posting || undefined);
  const rows = found.map(({ time, type, id, why }) => [time, type, id, why]);
  const next = key ? 'The receiver has taken them.' : 'When it is repaired: ops undelivered --post';
  return {
    text: `${table(['time', 'event', 'id', 'why'], rows, 'No undelivered events.')}${rows.length > 0 ? `\n\n${next}` : ''}`,
    json: found.map(({ id, type, time, why }) => ({ id, type, time, why })),
  };
}

async function webhooks({ target, now }: Context): Promise<Answer> {
  const days = 7;
  const counted = await countWebhooks(target, now, days);
  const rows = counted.map(({ outcome, provider = '', reason = '', count }) => [
    outcome,
    provider,
    reason,
    String(count),
  ]);
  const none = `No webhook in ${days} days. Does the provider have the address ${target.output('WebhookUrl')}?`;
  return { text: table(['webhooks', 'provider', 'reason', 'count'], rows, none), json: counted };
}

async function keys({ target, now, options }: Context, what: string, id?: string): Promise<Answer> {
  const opened = openKeys(target, options.secret);
  if (what === 'list' && id === undefined) return listKeys(opened, now);
  if (what === 'rotate' && id === undefined) return addKey(opened, now, options.now);
  if (what === 'retire' && id !== undefined) return removeKey(opened, now, id, options.now);
  throw new Error('ops keys needs list, rotate or retire <id>.');
}

async function token({ target, now, options }: Context, userId: string): Promise<Answer> {
  if (options['signing-keys'] && userId === '') {
    const json = await signingKeys(target, now);
    const lines = Object.entries(json).map(([name, value]) => `${name}=${value}`);
    return { text: lines.join('\n'), json };
  }
  if (userId === '' || options['signing-keys'])
    throw new Error('ops token needs the id of a user, or --signing-keys.');
  const text = await tokenFor(target, userId, options);
  return { text, json: options.link ? { link: text } : { token: text } };
}

async function exportAll({ records, now, options }: Context, userId: string): Promise<Answer | undefined> {
  const file = options.out;
  const bookings = await exportUser(records, { userId, file, now });
  if (file === undefined) return undefined;
  return {
    text: `${file} has the connection and ${bookings} bookings of ${userId}.`,
    json: { file, bookings },
  };
}

async function erase({ target, records, now, options }: Context, userId: string): Promise<Answer> {
  const { connection, bookings, kept } = await surveyOf(records, userId);
  console.error(`Erases ${userId}: the connection (${connection}) with its grant at Google, and all texts, guests and
addresses of ${bookings} bookings. Events in the calendar stay: they are their owner's. Payments are kept, without
the user:

${keptTable(kept)}
`);
  if (!options.yes) await confirm(userId);
  const by = await target.operator();
  const done = await eraseUser(target, records, userId, { by, now }, console.error);
  return {
    text: `Erased. ${done.deleted} bookings are deleted. ${revocations[done.revocation]}

${keptTable(done.kept)}

Also kept: that the user was erased, for 90 days, so that a payment of before brings nothing back; backups for 35 days;
messages in queues for 14 days at most; logs, which name the user by id only.`,
    json: { userId, ...done },
  };
}

function keptTable(kept: KeptPayment[]): string {
  const rows = kept.map(({ paymentId, bookingId, standing, amount = '' }) => [
    paymentId,
    bookingId,
    standing,
    String(amount),
  ]);
  return table(['kept payment', 'booking', 'standing', 'amount'], rows, 'No payment is kept.');
}

/** @throws Error unless a person confirms it */
async function confirm(userId: string): Promise<void> {
  if (!process.stdin.isTTY) throw new Error('Nobody can be asked here, and nothing was erased: give --yes.');
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question('This cannot be undone. Type the id of the user to go on: ');
  terminal.close();
  if (answer !== userId) throw new Error('Nothing was erased.');
}

function shellVariables({ outputs }: Target): string {
  return Object.entries(outputs)
    .map(([name, value]) => `export ${name}='${value.replaceAll("'", `'\\''`)}'`)
    .join('\n');
}
