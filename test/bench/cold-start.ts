import type { Part } from './part.ts';

export const coldStart: Part = {
  name: 'cold-start',
  title: 'Cold start: process start to first answered event',
  measure: async () => [],
};
