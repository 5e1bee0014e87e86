/** `npm run console`: pages for operators, on this machine. */
import { parseArgs } from 'node:util';
import { serve } from '@hono/node-server';
import { defaultStateDir } from '../local/state-files.ts';
import { runCommand } from './command.ts';
import { consoleApp } from './console/app.ts';
import { openTarget } from './ops/target.ts';

const help = `Serves pages that show and repair bookings, on this machine only.

  npm run console -- --local           the local stack (npm start)
  npm run console -- --env staging     a deployed one, with your AWS credentials

Options
  --port <n>      default: 8799
  --state <dir>   state of the local stack (default: .local)
  --help          print this`;

await runCommand(async () => {
  const { values } = parseArgs({
    options: {
      local: { type: 'boolean', default: false },
      env: { type: 'string' },
      port: { type: 'string', default: '8799' },
      state: { type: 'string', default: defaultStateDir },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(help);
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new Error(`--port is a whole number up to 65535, not "${values.port}".`);
  const target = await openTarget(values);
  await new Promise<void>((resolve, reject) => {
    const server = serve(
      { fetch: consoleApp(target).fetch, hostname: '127.0.0.1', port },
      ({ port: open }) => {
        console.log(`Console of ${target.name}: http://127.0.0.1:${open}  (Ctrl-C ends it)`);
        resolve();
      },
    );
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'EADDRINUSE'
          ? new Error(`Port ${port} is in use: choose another with --port.`)
          : error,
      ),
    );
  });
});
