import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { expect, inject } from 'vitest';
import { connectUser, payForBooking } from '../../infra/cli/demo-user.ts';
import { demoBooking } from '../../infra/cli/payment.ts';
import { startLocalStack } from '../../infra/local/stack.ts';
import { writeStackAddress } from '../../infra/local/state-files.ts';
import type { Booking } from '../../shared/booking/booking.ts';
import { temporaryDirectory } from '../local-stack/local-assembly.ts';
import { ada } from './world.ts';

type Ran = { code: number; text: string };

/** The operator's command as npm runs it, for the local stack in that state. */
export function opsOf(state: string) {
  return (...args: string[]): Promise<Ran> => {
    const command = join(import.meta.dirname, '..', '..', 'infra', 'cli', 'ops.ts');
    return new Promise((resolve) => {
      execFile(process.execPath, [command, ...args, '--local', '--state', state], (error, stdout, stderr) =>
        resolve({ code: error ? Number(error.code) : 0, text: stdout + stderr }),
      );
    });
  };
}

/** A local stack, its users, and the operator's command as npm runs it. */
export type OpsStack = Awaited<ReturnType<typeof startOpsStack>>;

export async function startOpsStack() {
  const state = temporaryDirectory();
  const stack = await startLocalStack({
    assembly: inject('assembly'),
    google: { kind: 'simulator', port: 0 },
    schedules: false,
    stateDir: state,
  });
  writeStackAddress(state, stack);

  const ops = opsOf(state);
  async function json<T>(...args: string[]): Promise<T> {
    const { code, text } = await ops(...args, '--json');
    if (code !== 0) throw new Error(text);
    return JSON.parse(text);
  }
  const booking = async (id: string) => (await json<{ booking: Booking }>('booking', id)).booking;
  let links = 0;
  function payAs(paymentId: string, userId: string, bookingId: string, more: object = {}, now = Date.now()) {
    const metadata = { ...demoBooking(userId, bookingId, now), ...more };
    return payForBooking(stack, metadata, { now, newId: paymentId.replace(/^pi_/, '') });
  }

  return {
    stack,
    state,
    ops,
    json,
    booking,
    becomes: (id: string, status: string) =>
      expect.poll(async () => (await booking(id)).status, { timeout: 20_000 }).toBe(status),
    connect: (userId: string, account = ada) =>
      connectUser(stack, { userId, account, now: Date.now() + 1000 * links++ }),
    pay: (userId: string, bookingId: string, more: object = {}) =>
      payAs(`pi_${bookingId}`, userId, bookingId, more),
    payAs,
  };
}
