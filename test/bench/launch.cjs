/**
 * The launcher of the cold-start part, the same for every bundle: loads one as Lambda does, gives it one event, and
 * writes to file descriptor 3 what it answered, and how many milliseconds after the start of the process.
 * Plain JavaScript, so that no time goes into stripping types.
 *
 *   node launch.cjs <bundle> <name of the handler> <file with the event>
 */
const { readFileSync, writeSync } = require('node:fs');

const [, , bundle, handler, eventFile] = process.argv;
const handle = require(bundle)[handler];
const context = {
  awsRequestId: '00000000-0000-4000-8000-000000000000',
  functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
  getRemainingTimeInMillis: () => 30_000,
};
handle(JSON.parse(readFileSync(eventFile, 'utf8')), context).then((answer) => {
  const ms = performance.now();
  writeSync(3, JSON.stringify({ ms, answer }));
  process.exit(0);
});
