/** The name that takes the fewest changes to arrive at. */
export function nearestTo(given: string, names: readonly string[]): string {
  const distances = names.map((name) => ({ name, distance: distanceOf(given, name) }));
  return distances.reduce((best, one) => (one.distance < best.distance ? one : best)).name;
}

/** How many letters to insert, delete or replace (Levenshtein). */
function distanceOf(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (const [above, letter] of [...one].entries()) {
    const next = [above + 1];
    for (let at = 1; at <= other.length; at++) {
      const replaced = (row[at - 1] as number) + (letter === other[at - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[at] as number) + 1, (next[at - 1] as number) + 1));
    }
    row = next;
  }
  return row.at(-1) as number;
}
