/** `npm run fuzz`: sends hostile requests to every public endpoint and reports findings. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runCommand } from '../../infra/cli/command.ts';
import { synthesize } from '../../infra/synthesize.ts';
import { fuzz, type Progress, type Report } from './fuzz.ts';
import { check, checkRest, documented, eventOf } from './oracle.ts';
import type { Case } from './requests.ts';
import { type Service, startService } from './service.ts';

const help = `Sends hostile requests to every public endpoint, through the real handlers.

  npm run fuzz -- --runs 100000 --seed 7

Options
  --runs <number>   how many requests (default: 20000)
  --seed <number>   which ones (default: by the clock); the same seed sends the same
  --only <text>     only endpoints whose name contains this, such as "PUT /bookings" or "queue"
  --replay <file>   sends one request that was kept in a file, and shows the answer
  --help            print this

Ctrl-C ends it after the requests at hand, and says what came of those so far.`;

await runCommand(async () => {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '20000' },
      seed: { type: 'string', default: String(Math.floor(Date.now() / 1000) % 1_000_000) },
      only: { type: 'string' },
      replay: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(help);
  const [runs, seed] = [Number(values.runs), Number(values.seed)];
  if (!Number.isSafeInteger(runs) || runs < 1)
    throw new Error(`--runs ${values.runs} is no number of requests.`);
  if (!Number.isSafeInteger(seed)) throw new Error(`--seed ${values.seed} is no whole number.`);

  console.log('Starting the tables, the queue, the secrets and the simulated Google.');
  const directory = mkdtempSync(join(tmpdir(), 'leadscalendar-fuzz-'));
  synthesize(directory);
  const service = await startService(directory);
  try {
    if (values.replay) return await replay(service, JSON.parse(readFileSync(values.replay, 'utf8')) as Case);
    console.log(`Sending ${runs} requests of seed ${seed}.`);
    const stop = new AbortController();
    process.once('SIGINT', () => stop.abort());
    const { signal } = stop;
    const report = await fuzz(service, { runs, seed, only: values.only, onProgress: showProgress(), signal });
    showReport(report, seed);
    if (report.findings.length > 0) process.exitCode = 1;
  } finally {
    await service.close();
    rmSync(directory, { recursive: true, force: true });
  }
});

/** One line that is overwritten on a terminal; otherwise a line every half minute. */
function showProgress(): (progress: Progress) => void {
  const every = process.stdout.isTTY ? 0.2 : 30;
  let shown = 0;
  return ({ sent, runs, seconds, endpoint, findings }) => {
    if (seconds - shown < every) return;
    shown = seconds;
    const left = Math.round((seconds / sent) * (runs - sent));
    const text = `${sent} of ${runs}, ${Math.round(sent / seconds)}/s, ${left} s left, ${findings} findings, now ${endpoint}`;
    process.stdout.write(process.stdout.isTTY ? `\r\x1b[K${text}` : `${text}\n`);
  };
}

function showReport({ sent, seconds, endpoints, findings }: Report, seed: number): void {
  if (process.stdout.isTTY) process.stdout.write('\r\x1b[K');
  const list = (counts: Map<unknown, number>) =>
    [...counts]
      .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1))
      .map(([name, count]) => `${name} ${count}`)
      .join(', ');
  for (const [endpoint, { sent: asked, slowest, statuses, codes }] of endpoints) {
    const known = [...(documented.get(endpoint)?.values() ?? [])].flat();
    const missing = known.filter((code) => !codes.has(code));
    console.log(`\n${endpoint}: ${asked} requests, slowest ${Math.round(slowest)} ms`);
    console.log(`  statuses   ${list(statuses)}`);
    if (codes.size > 0) console.log(`  codes      ${list(codes)}`);
    if (missing.length > 0) console.log(`  never met  ${missing.join(', ')}`);
  }
  for (const [index, { endpoint, message, request }] of findings.entries()) {
    const file = join(tmpdir(), `leadscalendar-fuzz-${seed}-${index}.json`);
    writeFileSync(file, JSON.stringify(request, null, 2));
    console.log(
      `\nFOUND at ${endpoint}: ${message}\n  ${JSON.stringify(request).slice(0, 1500)}\n  again: npm run fuzz -- --replay ${file}`,
    );
  }
  console.log(
    `\n${sent} requests of seed ${seed} in ${Math.round(seconds)} s (${Math.round(sent / seconds)}/s): ${findings.length} findings.`,
  );
}

async function replay(service: Service, request: Case): Promise<void> {
  if (request.endpoint !== 'queue') {
    const sent = await eventOf(service, request);
    const { answer, lines, writes } = sent
      ? await service.call(sent.routeKey, sent.event)
      : { answer: 'There is no such route.', lines: [], writes: [] };
    console.log(JSON.stringify(answer, null, 2).slice(0, 5000), `\n${lines.join('').slice(0, 5000)}`);
    await service.restore(writes);
  }
  const { status, code, ms } = await check(service, request);
  await checkRest(service);
  console.log(`As it should be: ${status} ${code} in ${Math.round(ms)} ms`);
}
