/**
 * The launcher of the refresh part: loads the bundle of token-refresh as Lambda does, and answers each message, how
 * many connections a run has time for (null: for all), with what the run took.
 * Plain JavaScript: what strips types takes memory too, and this process is measured.
 *
 *   node refresh-sweep.cjs <bundle>
 */
const { handler } = require(process.argv[2]);

// The system's own record begins with the memory of who started this process.
let peak = 0;
setInterval(() => {
  peak = Math.max(peak, process.memoryUsage.rss());
}, 20);

process.on('message', async (refreshes) => {
  let left = refreshes ?? Number.POSITIVE_INFINITY;
  const context = {
    awsRequestId: '00000000-0000-4000-8000-000000000000',
    getRemainingTimeInMillis: () => (left-- > 0 ? 300_000 : 0),
  };
  const startedAt = performance.now();
  const before = process.cpuUsage();
  const report = await handler({}, context);
  const { user, system } = process.cpuUsage(before);
  process.send({
    report,
    seconds: (performance.now() - startedAt) / 1000,
    cpuSeconds: (user + system) / 1e6,
    peakMegabytes: Math.max(peak, process.memoryUsage.rss()) / 2 ** 20,
  });
});
process.on('disconnect', () => process.exit());
