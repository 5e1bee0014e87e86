import type { CachedSecret } from '../../shared/aws/secrets.ts';

/** A secret in memory. `newer` is the value of the next reload, once. */
export function cachedSecret<T>(value: T): CachedSecret<T> & { value: T; newer: T | undefined } {
  return {
    value,
    newer: undefined,
    async get() {
      return this.value;
    },
    async reload() {
      const { newer } = this;
      if (newer !== undefined) this.value = newer;
      this.newer = undefined;
      return newer;
    },
  };
}
