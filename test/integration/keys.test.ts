import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { expect, inject, onTestFinished, test } from 'vitest';
import { settlingTime } from '../../infra/keys-rotation.ts';
import { connectUser, payForBooking } from '../../infra/local/demo-user.ts';
import { demoBooking } from '../../infra/local/payment.ts';
import { startLocalStack } from '../../infra/local/stack.ts';
import { writeStackAddress } from '../../infra/local/state-files.ts';
import { temporaryDirectory } from './local-assembly.ts';
import { ada } from './world.ts';

/** Runs `npm run keys` as npm would. */
function keys(...options: string[]): Promise<{ code: number; output: string }> {
  const command = join(import.meta.dirname, '..', '..', 'infra', 'keys.ts');
  return new Promise((resolve) => {
    execFile(process.execPath, [command, ...options], (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, output: stdout + stderr });
    });
  });
}

test('a rotation by hand: what is needed is not removed, and afterwards everything works with the new key', async () => {
  const state = temporaryDirectory();
  const stack = await startLocalStack({
    assembly: inject('assembly'),
    google: { kind: 'simulator', port: 0 },
    schedules: false,
  });
  let running = true;
  onTestFinished(async () => void (running && (await stack.close())));
  const { url, googleUrl, secretNames, endpoints } = stack;
  writeStackAddress(state, { url, googleUrl, secretNames, endpoints });
  const run = (...options: string[]) => keys(...options, '--state', state);
  const { tokenKeys } = secretNames;
  const held = () => JSON.parse(stack.secrets.get(tokenKeys) as string);

  const { response } = await connectUser(stack, { userId: 'user-1', account: ada, now: Date.now() });
  expect(response.status).toBe(200);
  expect(await run('list')).toEqual({
    code: 0,
    output: expect.stringMatching(/^initial +current: seals everything new +1 connection\n$/),
  });

  const rotated = await run('rotate');
  expect(rotated).toMatchObject({
    code: 0,
    output: expect.stringContaining('npm run token -- --signing-key'),
  });
  const { id } = held().next;
  expect(held()).toMatchObject({ current: 'initial', [id]: expect.stringMatching(/^[\w-]{64}$/) });
  for (const secret of [held().initial, held()[id]]) expect(rotated.output).not.toContain(secret);
  expect((await run('list')).output).toMatch(new RegExp(`${id} +next: from .+Z +0 connections`));
  expect(await run('rotate')).toMatchObject({
    code: 1,
    output: expect.stringContaining('was added already'),
  });
  expect(await run('retire', id)).toMatchObject({ code: 1, output: expect.stringContaining('Keep it') });

  // Half an hour later.
  const from = Math.floor(Date.now() / 1000) - settlingTime;
  stack.secrets.put(tokenKeys, JSON.stringify({ ...held(), next: { id, from } }));
  expect(await run('retire', 'initial')).toMatchObject({
    code: 1,
    output: expect.stringContaining('1 connection has tokens that only the key "initial" opens'),
  });
  expect(await stack.invoke('token-refresh', {})).toMatchObject({ payload: { carriedOver: 1 } });
  expect(await run('retire', 'initial')).toMatchObject({ code: 0 });
  expect(Object.keys(held())).toEqual(['current', id]);
  expect((await run('list')).output).toMatch(new RegExp(`^${id} +current.+ 1 connection\n$`));
  expect(await run('retire', id)).toMatchObject({ code: 1, output: expect.stringContaining('Rotate first') });

  const booking = demoBooking('user-1', 'booking-1', Date.now());
  await payForBooking(stack, booking, { now: Date.now(), newId: randomBytes(12).toString('hex') });
  await expect
    .poll(() => stack.events().map(({ detailType }) => detailType), { timeout: 10_000 })
    .toContain('booking.scheduled');

  const emergency = await run('rotate', '--now');
  expect(emergency).toMatchObject({ code: 0, output: expect.stringContaining('token_unreadable') });
  expect((await run('list')).output).toMatch(new RegExp(`${held().next.id} +current`));

  await stack.close();
  running = false;
  expect(await run('list')).toMatchObject({ code: 1, output: expect.stringContaining('npm start') });
});

test.each([
  [[], 'npm run keys -- rotate'],
  [['retire'], 'npm run keys -- retire <id>'],
  [['list', '--secret', 'TokenKeys'], '--table'],
  [['list', '--state', '/nowhere'], 'npm start'],
])('%j ends with what is wrong', async (options, message) => {
  expect(await keys(...options)).toMatchObject({ code: 1, output: expect.stringContaining(message) });
});
