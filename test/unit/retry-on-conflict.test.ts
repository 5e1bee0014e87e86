import { expect, it } from 'vitest';
import { retryOnConflict } from '../../shared/lib/retry-on-conflict.ts';

it('a write that loses is repeated until it succeeds', async () => {
  const results = [undefined, undefined, 'written'];
  expect(await retryOnConflict('booking', async () => results.shift())).toBe('written');
  expect(results).toEqual([]);
});

it('a write that loses four times in a row answers concurrent_update, retryable', async () => {
  let attempts = 0;
  const lost = retryOnConflict('booking', async () => {
    attempts++;
    return undefined;
  });
  await expect(lost).rejects.toMatchObject({ code: 'concurrent_update', status: 409, retryable: true });
  expect(attempts).toBe(4);
});

it('an error of the attempt is thrown at once', async () => {
  let attempts = 0;
  const failing = retryOnConflict('booking', async () => {
    attempts++;
    throw new Error('unavailable');
  });
  await expect(failing).rejects.toThrow('unavailable');
  expect(attempts).toBe(1);
});
