import type { Result, Row } from './part.ts';

const headings = ['', 'ours', 'unit', 'empty', 'floor', '× floor', 'usual', '× better', 'goal', ''];

/** The figures of a part as a table. Columns without figures are omitted. */
export function table({ title, seconds, rows }: Result): string {
  const cells = rows.map((row) => [
    row.what,
    figure(row.ours),
    row.unit,
    figure(row.empty),
    figure(row.floor),
    figure(row.floor === undefined ? undefined : row.ours / row.floor),
    figure(row.usual),
    figure(row.usual === undefined ? undefined : row.usual / row.ours),
    goalsOf(row)
      .map(({ text, met }) => `${met ? '✓' : '✗'} ${text}`)
      .join(', '),
    row.note ?? '',
  ]);
  const columns = headings
    .map((heading, column) => [heading, ...cells.map((line) => line[column] ?? '')])
    .filter(([, ...below]) => below.some((text) => text !== ''));
  const aligned = columns.map((column) => {
    const width = Math.max(...column.map((text) => text.length));
    const numeric = column.slice(1).every((text) => /^[\d.,]*$/.test(text));
    return column.map((text) => (numeric ? text.padStart(width) : text.padEnd(width)));
  });
  const lines = [headings, ...cells].map((_, line) =>
    aligned
      .map((column) => column[line])
      .join('  ')
      .trimEnd(),
  );
  return [`${title} (took ${seconds} s)`, ...lines].join('\n');
}

/** The goals of a row in words, each with whether it is met. */
export function goalsOf({ ours, floor, usual, unit, goal = {} }: Row): { text: string; met: boolean }[] {
  const goals: { text: string; met: boolean }[] = [];
  const { timesFloor, timesBetter, atMost } = goal;
  if (timesFloor !== undefined && floor !== undefined)
    goals.push({ text: `${timesFloor} × floor`, met: ours <= timesFloor * floor });
  if (timesBetter !== undefined && usual !== undefined)
    goals.push({ text: `${timesBetter} × better`, met: usual >= timesBetter * ours });
  if (atMost !== undefined) goals.push({ text: `${figure(atMost)} ${unit}`, met: ours <= atMost });
  return goals;
}

/** With significant digits: 0.0123, 4.56, 78.9, 1,234. */
function figure(value: number | undefined): string {
  if (value === undefined) return '';
  const digits = Math.abs(value) >= 100 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 };
  return value.toLocaleString('en', digits);
}
