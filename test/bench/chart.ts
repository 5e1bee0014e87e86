import type { Row } from './part.ts';
export function coldStartChart(rows: Row[]): string {
  return String(rows.length);
}
