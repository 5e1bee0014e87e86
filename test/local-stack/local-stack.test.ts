import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, inject, onTestFinished, test } from 'vitest';
import { connectUser, payForBooking } from '../../infra/cli/demo-user.ts';
import { connectLink } from '../../infra/cli/links.ts';
import { demoBooking } from '../../infra/cli/payment.ts';
import { freePort } from '../../infra/local/ports.ts';
import { type LocalStackOptions, startLocalStack } from '../../infra/local/stack.ts';
import { temporaryDirectory } from './local-assembly.ts';

async function start(options: Partial<LocalStackOptions> = {}) {
  const stack = await startLocalStack({
    google: { kind: 'simulator' },
    schedules: false,
    assembly: inject('assembly'),
    ...options,
  });
  onTestFinished(() => stack.close());
  return stack;
}

test('the deployed template runs locally, and every function loads', async () => {
  const { url, invoke } = await start();
  expect((await fetch(`${url}/health`)).status).toBe(200);
  for (const name of ['booking-reconcile', 'token-refresh', 'booking-sync']) {
    expect(await invoke(name, { Records: [] })).toMatchObject({ ok: true });
  }
});

test('a redelivered payment of a connected user creates one event', async () => {
  const stack = await start();
  const now = Date.now();
  const account = 'ada@example.com';
  const { response } = await connectUser(stack, { userId: 'demo-user', account, now });
  expect(response.status).toBeLessThan(400);
  const booking = demoBooking('demo-user', 'booking-1', now);
  for (const newId of ['first', 'second']) {
    expect(await payForBooking(stack, booking, { now, newId })).toMatchObject({ status: 200 });
  }
  await expect
    .poll(() => stack.google?.control.events(account))
    .toMatchObject([{ summary: booking.summary }]);
  await expect
    .poll(() => stack.events().map(({ detailType }) => detailType))
    .toEqual(expect.arrayContaining(['connection.activated', 'booking.scheduled']));
});

test('fills the secrets of the local stack as an operator would', async () => {
  const { url, secrets, secretNames } = await start();
  const value = (name: string) => JSON.parse(secrets.get(name) as string);
  expect(value(secretNames.googleClient)).toEqual({
    web: {
      client_id: expect.stringMatching(/\.apps\.googleusercontent\.com$/),
      client_secret: expect.stringMatching(/^GOCSPX-/),
      redirect_uris: [`${url}/google/callback`],
    },
  });
  expect(value(secretNames.webhookSigning)).toEqual({
    stripe: [expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/)],
    'stripe-connect': [expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/)],
    standard: [expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/)],
  });
  expect(value(secretNames.stripeApi)).toEqual({ keys: [expect.stringMatching(/^rk_test_\w{40}$/)] });
  for (const [purpose, name] of Object.entries(secretNames.keys)) {
    expect(value(name)).toEqual({
      purpose,
      current: 'initial',
      initial: expect.stringMatching(/^[A-Za-z0-9]{64}$/),
    });
  }
});

test('a restart keeps client and signing secret, and updates the redirect URI', async () => {
  const stateDir = temporaryDirectory();
  const first = await start({ stateDir });
  const read = ({ secrets, secretNames }: typeof first) => ({
    client: JSON.parse(secrets.get(secretNames.googleClient) as string).web,
    signing: secrets.get(secretNames.webhookSigning),
  });
  const before = read(first);
  await first.close();
  const second = await start({ stateDir });
  const after = read(second);
  expect(after.signing).toBe(before.signing);
  expect(after.client.client_id).toBe(before.client.client_id);
  expect(after.client.redirect_uris).toEqual([`${second.url}/google/callback`]);
});

test('uses the configured address of Google', async () => {
  const port = await freePort();
  const clientFile = join(temporaryDirectory(), 'client_secret.json');
  const redirect_uris = [`http://localhost:${port}/google/callback`];
  writeFileSync(
    clientFile,
    JSON.stringify({ web: { client_id: 'id', client_secret: 'secret', redirect_uris } }),
  );
  for (const [google, base] of [
    [{ kind: 'real', clientFile }, 'https://accounts.google.com/'],
    [{ kind: 'url', url: 'http://127.0.0.1:9/' }, 'http://127.0.0.1:9/o/'],
  ] as const) {
    const { url, secrets, secretNames, close } = await start({ port, google });
    const keys = secrets.get(secretNames.keys['link-signing']) as string;
    const { headers } = await fetch(await connectLink(keys, url, 'demo-user', Date.now()), {
      redirect: 'manual',
    });
    expect(headers.get('location')).toContain(base);
    await close();
  }
});

test('refuses a client file without this redirect URI, with the remedy', async () => {
  const clientFile = join(temporaryDirectory(), 'client_secret.json');
  const web = { client_id: 'id', client_secret: 'secret', redirect_uris: ['https://example.com/callback'] };
  writeFileSync(clientFile, JSON.stringify({ web }));
  await expect(start({ google: { kind: 'real', clientFile } })).rejects.toThrow('Authorized redirect URIs');
});
