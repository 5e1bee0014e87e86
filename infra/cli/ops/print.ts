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

/** A part of an answer: a heading, and named fields or lines. */
export type Section = { heading: string; fields?: [name: string, value: string][]; lines?: string[] };

/** Fields of one thing, without those that it does not have. */
export function fields(heading: string, values: Record<string, string | undefined>): Section {
  return {
    heading,
    fields: Object.entries(values).filter(
      (field): field is [string, string] => field[1] !== undefined && field[1] !== '',
    ),
  };
}

/** A list, or no section where it is empty. */
export function list(heading: string, lines: string[]): Section[] {
  return lines.length === 0 ? [] : [{ heading, lines }];
}

/** The sections as text for a terminal. */
export function asText(sections: Section[]): string {
  return sections
    .map(({ heading, fields: named = [], lines = [] }) => {
      const width = Math.max(...named.map(([name]) => name.length));
      const rows = named.map(([name, value]) => `${name.padEnd(width)}  ${visible(value)}`);
      return [visible(heading), ...[...rows, ...lines.map(visible)].map((line) => `  ${line}`)].join('\n');
    })
    .join('\n\n');
}
