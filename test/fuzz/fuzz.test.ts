import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { providers } from '../../functions/payment-confirmed/providers.ts';
import { routes, webhookRoute } from '../../shared/lib/names.ts';
import { icuAbbreviations } from '../fixtures/time-zones.ts';
import { intent, snapshot } from '../unit/stripe.ts';
import { fuzz } from './fuzz.ts';
import { check } from './oracle.ts';
import { type Case, targets } from './requests.ts';
import { type Service, startService, type Write } from './service.ts';

// RUNS and SEED choose how many requests and which: RUNS=1000 SEED=7 npx vitest run test/fuzz/fuzz.test.ts
const runs = Number(process.env.RUNS ?? 20_000);
const seed = Number(process.env.SEED ?? 1);

let service: Service;
beforeAll(async () => {
  service = await startService(inject('assembly'));
});
afterAll(() => service?.close());

it('no request is answered 5xx, late, with a secret or with changed rows', async () => {
  const { sent, findings, endpoints } = await fuzz(service, { runs, seed });
  expect(findings).toEqual([]);
  expect(sent).toBe(runs);
  const asked = [...endpoints.values()].map((statistics) => statistics.sent);
  expect(Math.min(...asked)).toBeGreaterThan(0);
}, 180_000);

it('the same seed sends the same requests', async () => {
  const statuses = async () => {
    const { endpoints } = await fuzz(service, { runs: 200, seed: 5, only: 'POST /webhooks/standard' });
    return [...endpoints.values()].map((statistics) => [...statistics.codes]);
  };
  expect(await statuses()).toEqual(await statuses());
});

describe('the fuzzer', () => {
  const health: Case = {
    endpoint: `GET ${routes.health}`,
    method: 'GET',
    path: routes.health,
    query: '',
    headers: [],
    body: '',
  };
  const webhook: Case = {
    ...health,
    endpoint: `POST ${webhookRoute('stripe')}`,
    method: 'POST',
    path: webhookRoute('stripe'),
  };
  const connect: Case = {
    ...health,
    endpoint: `GET ${routes.connect}`,
    path: routes.connect,
    headers: [['accept', 'text/html']],
  };
  type Done = Awaited<ReturnType<Service['call']>>;
  type Answer = { statusCode: number; headers: Record<string, string>; body: string };
  const write: Write = { operation: 'SendMessageCommand', input: { MessageBody: '{}' } };

  it.each<[string, Case, (done: Done, answer: Answer) => Done, RegExp]>([
    [
      'a 5xx',
      webhook,
      (done, answer) => ({ ...done, answer: { ...answer, statusCode: 500 } }),
      /Answered 500/,
    ],
    [
      'a payment whose texts cannot be read',
      webhook,
      (done) => ({
        ...done,
        lines: ['{"level":"ERROR","message":"Appointment of a payment could not be read"}'],
      }),
      /Reading a payment threw/,
    ],
    ['an answer that is late', health, (done) => ({ ...done, ms: 1001 }), /took 1001 ms/],
    ['a write on refusal', webhook, (done) => ({ ...done, writes: [write] }), /SendMessageCommand was sent/],
    [
      'a secret in the log',
      health,
      (done) => ({ ...done, lines: [`signed with ${service.secrets()[0]}`] }),
      /A secret can be seen/,
    ],
    [
      'a header that is missing',
      webhook,
      (done, { headers: { 'cache-control': _, ...headers }, ...answer }) => ({
        ...done,
        answer: { ...answer, headers },
      }),
      /The header cache-control is ""/,
    ],
    [
      'a code that is not documented',
      webhook,
      (done, answer) => ({
        ...done,
        answer: { ...answer, body: answer.body.replace('signature_missing', 'booking_not_found') },
      }),
      /booking_not_found is not documented/,
    ],
    [
      'markup of the request on a page',
      connect,
      (done, answer) => ({ ...done, answer: { ...answer, body: `${answer.body}<script>` } }),
      /Markup of the request/,
    ],
    [
      'an answer that the gateway cannot send',
      health,
      (done, answer) => ({ ...done, answer: { ...answer, headers: { location: 'a\r\nb' } } }),
      /cannot send this answer/,
    ],
  ])('the fuzzer finds %s', async (_, request, change, message) => {
    const changed: Service = {
      ...service,
      call: async (...all) => {
        const done = await service.call(...all);
        return change(done, done.answer as Answer);
      },
      restore: async () => {},
    };
    await expect(check(service, request)).resolves.toMatchObject({ status: expect.any(Number) });
    await expect(check(changed, request)).rejects.toThrow(message);
  });

  it('the fuzzer finds a signed payment that is refused', async () => {
    const body = JSON.stringify(snapshot('payment_intent.succeeded', intent({ id: 'a b' })));
    const signed: Case = {
      ...webhook,
      body,
      signing: { provider: 'stripe', secret: 'ours', skew: 0, stamp: '@', entries: ['v1=@'], id: 'msg_1' },
    };
    await expect(check(service, signed)).resolves.toMatchObject({ status: 400 });
    await expect(check(service, { ...signed, status: 200 })).rejects.toThrow(/only 200 is right/);
  });

  it.each(providers.map(({ name }) => webhookRoute(name)))(
    'the fuzzer sends values that one library accepts and another rejects to %s',
    (path) => {
      const cases = targets.find(({ endpoint }) => endpoint === `POST ${path}`)?.cases;
      const sent = fc.sample(cases as fc.Arbitrary<Case>, { numRuns: 1000, seed: 1 });
      const readable = sent.filter(
        ({ status, body }) => status === 200 && body.includes('"2027-06-01T10:00:00+02:00"'),
      );
      const zones = readable.map(({ body }) => /"time_?[zZ]one":"(\w+)"/.exec(body)?.[1] ?? '');
      const contested = zones.filter((zone) => icuAbbreviations.includes(zone.toUpperCase()));
      expect(contested.length).toBeGreaterThan(3);
    },
  );

  it('shrinks to the minimal request that leaves a row', async () => {
    const forgetful: Service = { ...service, restore: async () => {} };
    const { findings } = await fuzz(forgetful, { runs: 400, seed: 1, only: 'DELETE /bookings' });
    expect(findings[0]?.message).toMatch(/Rows have changed/);
    for (const row of await service.changedRows()) {
      const [TableName, id] = row.split(' ');
      await service.restore([{ operation: 'PutItemCommand', input: { TableName, Item: { id: { S: id } } } }]);
    }
    expect(await service.changedRows()).toEqual([]);
  });

  it('the watchdog ends a process whose event loop is blocked', () => {
    const watchdog = new URL('./watchdog.ts', import.meta.url).href;
    const blocking = `import { watch } from ${JSON.stringify(watchdog)}; (await watch('seed 9', 1)).beat(); for (;;);`;
    const { signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', blocking], {
      encoding: 'utf8',
      timeout: 20_000,
      killSignal: 'SIGTERM',
    });
    expect(stderr).toContain('Blocked for 1 s by request 1 of seed 9.');
    expect(signal).toBe('SIGKILL');
  });
});
