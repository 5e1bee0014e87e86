import { expect, test } from 'vitest';
import { lambda, run, writeAssembly } from './local-assembly.ts';

async function runFunction(source: string, properties: Record<string, unknown> = {}) {
  const runner = await run(writeAssembly({ Fn: lambda('fn', properties) }, { fn: source }));
  return { ...runner, call: (event: unknown = {}) => runner.invoke('fn', event) };
}

test('a function sees its own environment and the local AWS, and nothing of this machine', async () => {
  process.env.A_SECRET_OF_THIS_MACHINE = 'x';
  const { call } = await runFunction('export const handler = async () => process.env;', {
    Environment: { Variables: { FROM_TEMPLATE: 'yes' } },
  });
  const result = await call();
  expect(result).toMatchObject({
    ok: true,
    payload: {
      FROM_TEMPLATE: 'yes',
      AWS_REGION: 'us-east-1',
      AWS_LAMBDA_FUNCTION_NAME: 'fn',
      AWS_ACCESS_KEY_ID: 'fn',
      AWS_ENDPOINT_URL: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    },
  });
  expect(result).not.toHaveProperty('payload.A_SECRET_OF_THIS_MACHINE');
  expect(result).not.toHaveProperty('payload.PATH');
});

test('event and result are passed as JSON', async () => {
  const { call } = await runFunction(
    'export const handler = async (event) => event.give === "date" ? { at: new Date(0), no: undefined } : event.undefined;',
  );
  expect(await call({ give: 'date' })).toEqual({ ok: true, payload: { at: '1970-01-01T00:00:00.000Z' } });
  expect(await call({ undefined: undefined })).toEqual({ ok: true, payload: null });
});

test('the context has request id, function name and remaining time', async () => {
  const { call } = await runFunction(`export const handler = async (event, context) => ({
    ...context, left: context.getRemainingTimeInMillis() });`);
  const { payload } = (await call()) as { payload: { left: number } };
  expect(payload).toMatchObject({
    functionName: 'fn',
    awsRequestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
  });
  expect(payload.left).toBeGreaterThan(4000);
  expect(payload.left).toBeLessThanOrEqual(5000);
});

test('one worker handles one invocation at a time and is reused', async () => {
  const { call } = await runFunction(`let busy = 0, runs = 0; const id = Math.random();
    export const handler = async ({ ms }) => {
      const overlapping = busy++; await new Promise((done) => setTimeout(done, ms)); busy--;
      return { id, runs: ++runs, overlapping };
    };`);
  const results = await Promise.all(Array.from({ length: 3 }, () => call({ ms: 300 })));
  const payloads = results.map((result) => (result as { payload: Record<string, number> }).payload);
  expect(new Set(payloads.map(({ id }) => id)).size).toBe(3);
  expect(payloads.every(({ overlapping }) => overlapping === 0)).toBe(true);
  expect(await call({ ms: 0 })).toMatchObject({ ok: true, payload: { runs: 2 } });
});

test('invocations beyond ten at a time wait', async () => {
  const { call } = await runFunction(`const id = Math.random();
    export const handler = async () => { await new Promise((done) => setTimeout(done, 50)); return id; };`);
  const results = await Promise.all(Array.from({ length: 25 }, () => call()));
  expect(results.every(({ ok }) => ok)).toBe(true);
  expect(new Set(results.map((result) => result.ok && result.payload)).size).toBeLessThanOrEqual(10);
});

test('runs no more invocations at a time than are reserved', async () => {
  const { call } = await runFunction(
    `const id = Math.random(); export const handler = async () => { await new Promise((done) => setTimeout(done, 50)); return id; };`,
    { ReservedConcurrentExecutions: 1 },
  );
  const results = await Promise.all(Array.from({ length: 4 }, () => call()));
  expect(results.every(({ ok }) => ok)).toBe(true);
  expect(new Set(results.map((result) => result.ok && result.payload)).size).toBe(1);
});

test('a timeout ends the worker, and the next invocation gets a new one', async () => {
  const { call, logs } = await runFunction(
    `let runs = 0; export const handler = async ({ hang }) => { runs++; if (hang) for (;;); return runs; };`,
    { Timeout: 1 },
  );
  expect(await call({})).toEqual({ ok: true, payload: 1 });
  expect(await call({ hang: true })).toMatchObject({
    ok: false,
    error: { errorType: 'Sandbox.Timedout', errorMessage: 'Task timed out after 1.00 seconds' },
  });
  expect(await call({})).toEqual({ ok: true, payload: 1 });
  expect(logs().map(({ text }) => text)).toContain('Sandbox.Timedout: Task timed out after 1.00 seconds');
});

test('a thrown error is the result, and the worker stays', async () => {
  const { call } = await runFunction(`let runs = 0; export const handler = async ({ fail }) => {
    runs++; if (fail) throw new TypeError('on purpose'); return runs; };`);
  expect(await call({ fail: true })).toMatchObject({
    ok: false,
    error: { errorType: 'TypeError', errorMessage: 'on purpose', trace: expect.arrayContaining([]) },
  });
  expect(await call({})).toEqual({ ok: true, payload: 2 });
});

test.each([
  ['fails to load', 'throw new Error("broken bundle");', 'broken bundle'],
  ['exports no handler', 'export const other = 1;', 'does not export a function named "handler"'],
  ['ends its process', 'export const handler = () => process.exit(3);', 'ended its process'],
])('reports a function that %s', async (_what, source, message) => {
  const { call } = await runFunction(source);
  for (const result of [await call(), await call()]) {
    expect(result).toMatchObject({ ok: false, error: { errorMessage: expect.stringContaining(message) } });
  }
});

test('output of a function is logged', async () => {
  const { call, logs } = await runFunction(
    `export const handler = async () => { console.log('to stdout'); console.error('to stderr'); };`,
  );
  await call();
  await expect.poll(logs).toEqual(
    expect.arrayContaining([
      { functionName: 'fn', stream: 'stdout', text: 'to stdout' },
      { functionName: 'fn', stream: 'stderr', text: 'to stderr' },
    ]),
  );
});

test('an unknown function is reported with the list of known ones', async () => {
  const { invoke } = await runFunction('export const handler = async () => 1;');
  await expect(invoke('other', {})).rejects.toThrow('no function "other". The stack has fn.');
});
