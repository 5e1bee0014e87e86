/** `npm run bench`: what this service costs, next to the lower bound and the baseline. */
import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { runCommand } from '../../infra/cli/command.ts';
import { calls } from './calls.ts';
import { coldStartChart } from './chart.ts';
import { coldStart } from './cold-start.ts';
import { cost } from './cost.ts';
import { latency } from './latency.ts';
import type { Part, Result } from './part.ts';
import { refresh } from './refresh.ts';
import { table } from './table.ts';

/** In the order in which they run. */
const parts: Part[] = [coldStart, latency, refresh, calls, cost];

const option = (name: string, text: string) => `  ${name.padEnd(22)} ${text}`;
const help = `Measures what this service costs in time, calls, memory and money, beside the least that
it could cost (the lower bound) and a common build (the baseline).

  npm run bench -- [part …] [options]

Parts (all by default)
${parts.map(({ name, title }) => option(name, title)).join('\n')}

Options
${option('--json <file>', 'write the figures for machines')}
${option('--svg <file>', 'draw the cold starts')}
${option('--short', 'few rounds: shows that the bench runs, not how fast anything is')}
${parts
  .flatMap(({ options = {} }) =>
    Object.entries(options)
      .map(([name, { text }]) => option(`--${name} <value>`, text))
      .map((line) => `${line}\n`),
  )
  .join('')}${option('--help', 'print this')}`;

await runCommand(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      ...Object.fromEntries(
        parts.flatMap(({ options = {} }) =>
          Object.keys(options).map((name) => [name, { type: 'string' as const }]),
        ),
      ),
      json: { type: 'string' },
      svg: { type: 'string' },
      short: { type: 'boolean', default: false },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(help);

  const results: Result[] = [];
  for (const part of chosen(positionals)) {
    const startedAt = performance.now();
    const rows = await part.measure({ short: values.short, progress: progressOf(part), values });
    clearProgress();
    const result = {
      name: part.name,
      title: part.title,
      seconds: Math.round((performance.now() - startedAt) / 1000),
      rows,
    };
    console.log(`${table(result)}\n`);
    results.push(result);
  }

  if (values.json) {
    const run = {
      at: new Date().toISOString(),
      short: values.short,
      node: process.version,
      machine: machine(),
      parts: results,
    };
    writeFileSync(values.json, `${JSON.stringify(run, null, 2)}\n`);
  }
  if (values.svg) writeChart(values.svg, results);
});

function chosen(names: string[]): Part[] {
  const unknown = names.find((name) => !parts.some((part) => part.name === name));
  if (unknown !== undefined) {
    const known = parts.map(({ name }) => name).join(', ');
    throw new Error(`There is no part "${unknown}". The bench has ${known}.`);
  }
  return names.length === 0 ? parts : parts.filter(({ name }) => names.includes(name));
}

function machine(): string {
  return `${availableParallelism()} × ${cpus()[0]?.model ?? 'unknown'}, ${process.platform} ${process.arch}`;
}

/** One line that is overwritten on a terminal; otherwise one line per part, so that logs stay short. */
function progressOf({ title }: Part): (text: string) => void {
  if (!process.stderr.isTTY) console.error(`${title} …`);
  return (text) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${title}: ${text}`);
  };
}

function clearProgress(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
}

function writeChart(file: string, results: Result[]): void {
  const result = results.find(({ name }) => name === coldStart.name);
  if (!result) throw new Error(`--svg draws the cold starts: let the part ${coldStart.name} run too.`);
  writeFileSync(file, coldStartChart(result.rows));
}
