/** Milliseconds and time-outs as the template has them. */

export const second = 1000;
export const minute = 60 * second;
export const seconds = (milliseconds: number): number => Math.floor(milliseconds / 1000);
/** Milliseconds, as the template has them. */
export const timeouts = {
  webhook: 15,
  api: 15,
  connect: 15,
  callback: 29,
  connections: 29,
  sync: 30,
  reconcile: 55,
  sweep: 300,
};
