/** `npm run pay`: pays for a booking at the running local stack, as Stripe would report it. */
import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Booking } from '../../shared/booking/booking.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { webhookRoute } from '../../shared/lib/names.ts';
import { defaultStateDir, readLocalSecret, readStackAddress } from '../local/state-files.ts';
import { payAtStripe } from '../local/stripe.ts';
import { runCommand } from './command.ts';
import { recordsOf } from './ops/records.ts';
import { openTarget } from './ops/target.ts';
import {
  type BookingMetadata,
  checkoutCompleted,
  deliver,
  demoBooking,
  hour,
  rfc3339,
  stripeSigningSecret,
} from './payment.ts';
import { putOnStripeBus } from './stripe-bus.ts';

const help = `Pays at the simulated Stripe, which sends a signed checkout.session.completed to the running local stack,
and shows what becomes of it.

  npm run pay
  npm run pay -- --user demo-user --summary "First meeting" --start ${rfc3339(Date.now() + 7 * 24 * hour)}

Options
  --user <id>        whose calendar gets the event (default: demo-user)
  --booking <id>     booking id (default: a new one); the same id twice leaves one event
  --summary <text>   title of the event
  --start <time>     RFC 3339 with offset (default: tomorrow, 10:00 UTC)
  --end <time>       (default: an hour after the start)
  --lost             Stripe has the event, and its webhook is lost
  --account <id>     pays to this connected account, of npm start -- --stripe-connect, once it is bound to the user
  --event-bus        puts the event on Stripe's event bus, of npm start -- --stripe-events
  --url <url>        another API than that of the local stack: sent from here, without the simulated Stripe
  --state <folder>   state of the stack (default: .local)
  --help             print this`;

await runCommand(async () => {
  const { values } = parseArgs({
    options: {
      user: { type: 'string', default: 'demo-user' },
      booking: { type: 'string' },
      summary: { type: 'string' },
      start: { type: 'string' },
      end: { type: 'string' },
      lost: { type: 'boolean', default: false },
      account: { type: 'string' },
      'event-bus': { type: 'boolean', default: false },
      url: { type: 'string' },
      state: { type: 'string', default: defaultStateDir },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(help);
  const stack = readStackAddress(values.state);
  const url = (values.url ?? stack.url).replace(/\/$/, '');
  const isLocal = url === stack.url;
  if (values.lost && !isLocal) {
    throw new Error('--lost leaves the event at the simulated Stripe, which another --url does not use.');
  }
  const booking = bookingOf(values);
  const event = {
    ...checkoutCompleted(booking, Date.now(), randomBytes(12).toString('hex')),
    ...(values.account ? { account: values.account } : {}),
  };
  const provider = values.account ? 'stripe-connect' : 'stripe';
  const signing = readLocalSecret(values.state, stack.secretNames.webhookSigning);
  const signingSecret = stripeSigningSecret(signing, provider);
  const webhook = { url: `${url}${webhookRoute(provider)}`, signingSecret };
  const isByBus = values['event-bus'];
  const send = () => {
    if (isByBus) return putOnStripeBus(event, stack);
    if (isLocal) return payAtStripe(stack.stripeUrl, event, values.lost ? undefined : webhook);
    return deliver(event, { webhookUrl: webhook.url, signingSecret }, Date.now());
  };
  const answer = await send().catch(notReached(isLocal && !isByBus ? stack.stripeUrl : url));
  const paid = `Paid: booking ${booking.booking_id} of ${booking.user_id}`;
  if (!answer) return console.log(`${paid}. Its webhook is lost: only Stripe has ${event.id}.`);

  const { status, body } = answer;
  if (status !== 200)
    throw new Error(`${isByBus ? 'The event bus' : 'The webhook'} answered ${status}: ${body}`);
  if ('ignored' in JSON.parse(body)) throw new Error(`The webhook ignored the payment: ${body}`);
  console.log(`${paid}: ${body}`);
  // Only the local stack's own records can be read.
  if (isLocal) await showOutcome(values.state, booking.booking_id, JSON.parse(body) as Receipt);
});

function notReached(url: string): (cause: unknown) => never {
  return (cause) => {
    // What fetch throws where it gets no answer.
    if (!(cause instanceof TypeError)) throw cause;
    throw new Error(`Nothing answers at ${url}. Is the local stack running? Start it with "npm start".`, {
      cause,
    });
  };
}

/** The demo booking with the changes that the options ask for. */
function bookingOf(values: {
  user: string;
  booking?: string | undefined;
  summary?: string | undefined;
  start?: string | undefined;
  end?: string | undefined;
}): BookingMetadata {
  const bookingId = values.booking ?? `demo-${randomBytes(4).toString('hex')}`;
  const booking = demoBooking(values.user, bookingId, Date.now());
  if (values.summary) booking.summary = values.summary;
  if (values.start) {
    if (Number.isNaN(Date.parse(values.start))) {
      throw new Error(`--start ${values.start} is no time such as 2026-12-01T10:00:00+01:00.`);
    }
    booking.start = values.start;
    booking.end = rfc3339(Date.parse(values.start) + hour);
  }
  if (values.end) booking.end = values.end;
  return booking;
}

type Receipt = { payment_id: string };

/** Waits until the payment has an outcome, and says what became of it. The exit code is 1 where it is not good. */
async function showOutcome(state: string, bookingId: string, receipt: Receipt): Promise<void> {
  const target = await openTarget({ local: true, state });
  const { bookings } = recordsOf(target);
  const outcomeAt = Date.now() + 15_000;
  for (;;) {
    // What a payment names by an unusable id is recorded under the payment's own.
    const booking = (await bookings.get(bookingId)) ?? (await bookings.get(receipt.payment_id));
    const isOpen = !booking || booking.status === 'pending' || !(receipt.payment_id in booking.payments);
    if (booking && !isOpen) return printOutcome(booking, target.googleUrl, where(state));
    if (Date.now() > outcomeAt) {
      const [problem] = booking?.problems ?? [];
      console.log(
        `No outcome yet${problem ? `: ${problem.message}` : ''}. See: npm run ops -- booking ${bookingId} ${where(state)}`,
      );
      process.exitCode = 1;
      return;
    }
    await setTimeout(300);
  }
}

/** How another command names this local stack. */
function where(state: string): string {
  return state === defaultStateDir ? '--local' : `--local --state ${state}`;
}

function printOutcome(booking: Booking, googleUrl: string | undefined, stack: string): void {
  const { bookingId, status, appointment, problems } = booking;
  console.log(`${status}${problems.map(({ code, message }) => `\n  ${code}: ${message}`).join('')}`);
  const isGood = status === 'scheduled' || status === 'held' || status === 'waiting_for_connection';
  if (!isGood) process.exitCode = 1;
  if (status === 'scheduled' && appointment && googleUrl)
    console.log(`The calendar: ${googleUrl}/calendar?date=${toIso(appointment.startsAt).slice(0, 10)}`);
  else console.log(`Its story: npm run ops -- booking ${bookingId} ${stack}`);
}
