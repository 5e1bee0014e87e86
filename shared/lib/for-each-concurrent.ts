/**
 * Runs `work` for each item, `width` at a time, and takes the next item when a place is free. Waits for all started
 * work, then throws the first error.
 */
export async function forEachConcurrent<T>(
  items: Iterable<T> | AsyncIterable<T>,
  concurrency: number,
  handle: (item: T) => Promise<void>,
): Promise<void> {
  const queue = (async function* () {
    yield* items;
  })();
  const worker = async (): Promise<void> => {
    for await (const item of queue) await handle(item);
  };
  const lanes = await Promise.allSettled(Array.from({ length: concurrency }, worker));
  const failed = lanes.find(({ status }) => status === 'rejected');
  if (failed?.status === 'rejected') throw failed.reason;
}
