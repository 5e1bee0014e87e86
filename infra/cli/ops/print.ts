/** Answers for people: aligned columns, and fields under a heading. */

/** Texts of others may hold characters that a terminal obeys. */
const visible = (text: string): string => text.replace(/\p{Cc}/gu, ' ');

/** A table with a heading; `none` where it has no row. */
export function table(headings: string[], rows: string[][], none: string): string {
  if (rows.length === 0) return none;
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  const line = (cells: string[]): string =>
    cells
      .map((cell, column) => visible(cell).padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return [line(headings.map((heading) => heading.toUpperCase())), ...rows.map(line)].join('\n');
}

/** Fields of one thing, without those that it does not have. */
export function fields(heading: string, values: Record<string, string | undefined>): string {
  const known = Object.entries(values).filter(([, value]) => value !== undefined && value !== '');
  const width = Math.max(...known.map(([name]) => name.length));
  return [heading, ...known.map(([name, value]) => `  ${name.padEnd(width)}  ${visible(value ?? '')}`)].join('\n');
}

export function list(heading: string, lines: string[]): string {
  return lines.length === 0 ? '' : [heading, ...lines.map((line) => `  ${visible(line)}`)].join('\n');
}
