/**
 * Runs `work` over `items`, at most `width` at a time; items that have yet to come are asked for one by one.
 * What fails is thrown once all that was begun has ended.
 */
export async function eachOf<T>(
  items: Iterable<T> | AsyncIterable<T>,
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = (async function* () {
    yield* items;
  })();
  const lane = async (): Promise<void> => {
    for await (const item of queue) await work(item);
  };
  const lanes = await Promise.allSettled(Array.from({ length: width }, lane));
  const failed = lanes.find(({ status }) => status === 'rejected');
  if (failed?.status === 'rejected') throw failed.reason;
}
