import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { expect, inject, onTestFinished, test } from 'vitest';
import { connectUser, payForBooking } from '../../infra/cli/demo-user.ts';
import { propagationSeconds } from '../../infra/cli/keys-rotation.ts';
import { demoBooking } from '../../infra/cli/payment.ts';
import { startLocalStack } from '../../infra/local/stack.ts';
import { writeStackAddress } from '../../infra/local/state-files.ts';
import { keyText, parseKeys } from '../../shared/crypto/keys.ts';
import { type KeyPurpose, keySecrets, routes } from '../../shared/lib/names.ts';
import { temporaryDirectory } from '../local-stack/local-assembly.ts';
import { ada } from './world.ts';

type Ran = { code: number; output: string };

/** Runs a command as npm would. */
function ops(...options: string[]): Promise<Ran> {
  const command = join(import.meta.dirname, '..', '..', 'infra', 'cli', 'ops.ts');
  return new Promise((resolve) => {
    execFile(process.execPath, [command, ...options, '--local'], (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, output: stdout + stderr });
    });
  });
}
const keys = (...options: string[]) => ops('keys', ...options);
const token = (...options: string[]) => ops('token', ...options);

/** A local stack that the commands find, and its secrets. */
async function startStack() {
  const state = temporaryDirectory();
  const stack = await startLocalStack({
    assembly: inject('assembly'),
    google: { kind: 'simulator', port: 0 },
    schedules: false,
  });
  let running = true;
  const close = async () => {
    if (running) await stack.close();
    running = false;
  };
  onTestFinished(close);
  const { secretNames } = stack;
  writeStackAddress(state, stack);
  const held = (purpose: KeyPurpose = 'token-encryption') =>
    JSON.parse(stack.secrets.get(secretNames.keys[purpose]) as string);
  const put = (purpose: KeyPurpose, value: object) =>
    stack.secrets.put(secretNames.keys[purpose], JSON.stringify(value));
  return { stack, state, held, put, close };
}

test('a manual rotation removes no needed key, and everything works with the new one', {
  timeout: 120_000,
}, async () => {
  const { stack, state, held, put, close } = await startStack();
  const run = (...options: string[]) => keys(...options, '--state', state);

  const { response } = await connectUser(stack, { userId: 'user-1', account: ada, now: Date.now() });
  expect(response.status).toBe(200);
  expect(await run('list')).toEqual({
    code: 0,
    output: expect.stringMatching(/^KEY +USE +CONNECTIONS\ninitial +current: used for everything new +1\n$/),
  });

  const rotated = await run('rotate');
  expect(rotated).toMatchObject({ code: 0, output: expect.stringContaining('to token-encryption') });
  const { id } = held().next;
  expect(held()).toMatchObject({ current: 'initial', [id]: expect.stringMatching(/^[\w-]{64}$/) });
  for (const secret of [held().initial, held()[id]]) expect(rotated.output).not.toContain(secret);
  expect((await run('list')).output).toMatch(new RegExp(`${id} +next: from .+Z +0`));
  expect(await run('rotate')).toMatchObject({
    code: 1,
    output: expect.stringContaining('was added already'),
  });
  expect(await run('retire', id)).toMatchObject({ code: 1, output: expect.stringContaining('Keep it') });

  const from = Math.floor(Date.now() / 1000) - propagationSeconds['token-encryption'];
  put('token-encryption', { ...held(), next: { id, from } });
  expect(await run('retire', 'initial')).toMatchObject({
    code: 1,
    output: expect.stringContaining('1 connection has tokens that only the key "initial" opens'),
  });
  expect(await stack.invoke('token-refresh', {})).toMatchObject({ payload: { reencrypted: 1 } });
  expect(await run('retire', 'initial')).toMatchObject({ code: 0 });
  expect(parseKeys('token-encryption', JSON.stringify(held())).ids).toEqual([id]);
  expect((await run('list')).output).toMatch(new RegExp(`\n${id} +current.+ 1\n$`));
  expect(await run('retire', id)).toMatchObject({ code: 1, output: expect.stringContaining('Rotate first') });

  const booking = demoBooking('user-1', 'booking-1', Date.now());
  await payForBooking(stack, booking, { now: Date.now(), newId: randomBytes(12).toString('hex') });
  await expect
    .poll(() => stack.events().map(({ detailType }) => detailType), { timeout: 10_000 })
    .toContain('booking.scheduled');

  const emergency = await run('rotate', '--now');
  expect(emergency).toMatchObject({ code: 0, output: expect.stringContaining('token_unreadable') });
  expect((await run('list')).output).toMatch(new RegExp(`${held().next.id} +current`));

  await close();
  expect(await run('list')).toMatchObject({ code: 1, output: expect.stringContaining('npm start') });
});

test('rotates and retires the keys of each purpose separately', { timeout: 120_000 }, async () => {
  const { state, held, put } = await startStack();
  for (const purpose of Object.keys(keySecrets) as KeyPurpose[]) {
    const others = (Object.keys(keySecrets) as KeyPurpose[]).filter((each) => each !== purpose);
    const before = others.map((each) => held(each));
    const run = (...options: string[]) => keys(...options, '--secret', purpose, '--state', state);
    expect(await run('rotate')).toMatchObject({
      code: 0,
      output: expect.stringContaining(`to ${purpose}`),
    });
    const { id } = held(purpose).next;
    const from = Math.floor(Date.now() / 1000) - propagationSeconds[purpose];
    put(purpose, { ...held(purpose), next: { id, from } });
    expect(await run('retire', 'initial')).toMatchObject({ code: 0 });
    expect(parseKeys(purpose, JSON.stringify(held(purpose))).ids).toEqual([id]);
    expect(others.map((each) => held(each))).toEqual(before);
  }
});

test("the token command prints the backend's two keys for links and bearer tokens", async () => {
  const { stack, state, held } = await startStack();
  const printed = await token('--signing-keys', '--state', state);
  const keyOf = (purpose: 'api-signing' | 'link-signing') =>
    keyText(parseKeys(purpose, JSON.stringify(held(purpose))), 'initial');
  expect(printed).toEqual({
    code: 0,
    output: `API_SIGNING_KEY=${keyOf('api-signing')}\nLINK_SIGNING_KEY=${keyOf('link-signing')}\n`,
  });
  const bearer = (await token('user-1', '--state', state)).output.trim();
  const answer = await fetch(`${stack.url}${routes.connection}`, {
    headers: { authorization: `Bearer ${bearer}` },
  });
  expect(answer.status).toBe(404);
  const link = (await token('user-1', '--link', '--state', state)).output.trim();
  expect((await fetch(link, { redirect: 'manual' })).status).toBe(302);
});

test('keys and token end with an explanation of what is missing', { timeout: 60_000 }, async () => {
  const { state } = await startStack();
  const cases: [string[], string][] = [
    [['keys'], 'needs list, rotate or retire <id>'],
    [['keys', 'retire'], 'needs list, rotate or retire <id>'],
    [['keys', 'list', 'initial'], 'needs list, rotate or retire <id>'],
    [
      ['keys', 'list', '--secret', 'arn:aws:secretsmanager:…:LinkSigning'],
      '--secret is one of token-encryption',
    ],
    [['token'], 'needs the id of a user, or --signing-keys'],
    [['token', 'user-1', '--signing-keys'], 'needs the id of a user, or --signing-keys'],
    [['token', 'user-1', 'more'], 'takes no "more"'],
  ];
  for (const [options, message] of cases) {
    const ran = await ops(...options, '--state', state);
    expect(ran).toMatchObject({ code: 1, output: expect.stringContaining(message) });
  }
  expect(await keys('list', '--state', '/nowhere')).toMatchObject({
    code: 1,
    output: expect.stringContaining('npm start'),
  });
});
