/** `npm run chaos`: the local stack under load, faults and SIGKILL, with a report. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runCommand } from '../../infra/cli/command.ts';
import { synthesize } from '../../infra/synthesize.ts';
import { runChaos } from './chaos.ts';
import { findings, report } from './report.ts';

const help = `Pays for many bookings at once while Google fails and processes are killed, and sees whether everything is right
in the end.

  npm run chaos -- [options]

Options
  --payments <number>    payments in one burst (default: 1000)
  --seed <number>        of what is paid, refunded, moved and cancelled, and of the faults (default: 1)
  --errors <percent>     calls that Google answers with an error (default: 10)
  --lost <percent>       calls that Google carries out without an answer (default: 5)
  --lost-webhooks <percent>  events of Stripe that only recovery finds (default: 0)
  --kill-every <s>       seconds that the service lives, on average (default: 4)
  --minutes <number>     the end of the run, settled or not (default: 8)
  --visibility <s>       seconds after which a message comes back whose receiver was killed (default: 30)
  --keep                 keep the state and logs of the run
  --help                 print this`;

await runCommand(async () => {
  const { values } = parseArgs({
    options: {
      payments: { type: 'string', default: '1000' },
      seed: { type: 'string', default: '1' },
      errors: { type: 'string', default: '10' },
      lost: { type: 'string', default: '5' },
      'lost-webhooks': { type: 'string', default: '0' },
      'kill-every': { type: 'string', default: '4' },
      minutes: { type: 'string', default: '8' },
      visibility: { type: 'string', default: '30' },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(help);
  const number = (
    name: 'payments' | 'seed' | 'errors' | 'lost' | 'lost-webhooks' | 'kill-every' | 'minutes' | 'visibility',
  ) => {
    const value = Number(values[name]);
    if (!(value >= 0)) throw new Error(`--${name} ${values[name]} is no number.`);
    return value;
  };
  const directory = mkdtempSync(join(tmpdir(), 'leadscalendar-chaos-'));
  const assembly = join(directory, 'synthesized');
  synthesize(assembly);
  const result = await runChaos(
    {
      payments: number('payments'),
      seed: number('seed'),
      errors: number('errors'),
      lost: number('lost'),
      lostWebhooks: number('lost-webhooks'),
      killEvery: number('kill-every'),
      maxKills: Number.POSITIVE_INFINITY,
      minutes: number('minutes'),
      visibility: number('visibility'),
      assembly,
      directory,
    },
    console.log,
  );
  console.log(`\n${report(result)}\n`);
  const wrong = findings(result);
  if (wrong.length === 0) {
    if (!values.keep) rmSync(directory, { recursive: true });
    return console.log(`Everything is right.${values.keep ? ` State and logs: ${directory}` : ''}`);
  }
  throw new Error(`${wrong.length} things are wrong:\n${wrong.join('\n')}\nState and logs: ${directory}`);
});
