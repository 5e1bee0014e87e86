/** Draws the cold starts as SVG: a group of bars per function, from zero, in light and dark. */
import type { Row } from './part.ts';

const series = [
  { key: 'ours', label: 'ours', legendAt: 0 },
  { key: 'floor', label: 'lower bound: same calls, hello world', legendAt: 70 },
  { key: 'empty', label: 'empty handler', legendAt: 320 },
  { key: 'usual', label: 'baseline', legendAt: 440 },
] as const;

// In pixels.
const width = 860;
const left = 150;
const right = 70;
const top = 92;
const bar = 9;
const group = series.length * (bar + 2) + 14;

/** @returns a whole SVG document, with figures next to the bars and in a text description */
export function coldStartChart(rows: Row[]): string {
  const most = Math.max(...rows.flatMap((row) => series.map(({ key }) => row[key] ?? 0)));
  const x = (ms: number): number => left + (ms / most) * (width - left - right);
  const bottom = top + rows.length * group;
  const height = bottom + 34;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title description">
<title id="title">Cold starts: process start to first answered event</title>
<desc id="description">Median milliseconds. ${rows.map(inWords).join(' ')}</desc>
<style>
  svg { color-scheme: light dark; background: #fff; font: 12px system-ui, sans-serif }
  text { fill: #1f2328 } .quiet { fill: #59636e } .grid { stroke: #d1d9e0 }
  .ours { fill: #0a7f4f } .floor { fill: #7fc8a4 } .empty { fill: #b6bec7 } .usual { fill: #c4562d }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117 }
    text { fill: #e6edf3 } .quiet { fill: #9198a1 } .grid { stroke: #30363d }
    .ours { fill: #2fbf83 } .floor { fill: #1f6f4c } .empty { fill: #565e68 } .usual { fill: #e0764c }
  }
</style>
<text x="16" y="26" font-size="16" font-weight="600">Process start to first answered event</text>
<text x="16" y="46" class="quiet">Median milliseconds of each function.</text>
${series.map(legend).join('\n')}
${ticks(most)
  .map((ms) => tick(ms, x(ms), bottom))
  .join('\n')}
${rows.map((row, index) => bars(row, top + index * group, x)).join('\n')}
</svg>
`;
}

function inWords(row: Row): string {
  return `${row.what}: ${series.map(({ key, label }) => `${label.replace(/:.*/, '')} ${Math.round(row[key] ?? 0)}`).join(', ')}.`;
}

function legend({ key, label, legendAt }: (typeof series)[number]): string {
  const x = left + legendAt;
  return `<rect class="${key}" x="${x}" y="60" width="10" height="10"/><text x="${x + 15}" y="69">${label}</text>`;
}

/** Round figures from zero, at most eight. */
function ticks(most: number): number[] {
  const step = [10, 20, 50, 100, 200, 500, 1000].find((size) => most / size < 8) ?? 2000;
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, index) => index * step);
}

function tick(ms: number, x: number, bottom: number): string {
  const at = x.toFixed(1);
  return `<line class="grid" x1="${at}" x2="${at}" y1="${top - 8}" y2="${bottom}"/><text class="quiet" x="${at}" y="${bottom + 18}" text-anchor="middle">${ms.toLocaleString('en')} ms</text>`;
}

function bars(row: Row, y: number, x: (ms: number) => number): string {
  const middle = y + (series.length * (bar + 2)) / 2 + 4;
  const drawn = series.map(({ key }, index) => {
    const ms = row[key];
    if (!ms) return '';
    const end = x(ms);
    const barTop = y + index * (bar + 2);
    return `<rect class="${key}" x="${left}" y="${barTop}" width="${(end - left).toFixed(1)}" height="${bar}"/><text x="${(end + 5).toFixed(1)}" y="${barTop + bar - 0.5}" font-size="10">${Math.round(ms).toLocaleString('en')}</text>`;
  });
  return `<text x="${left - 10}" y="${middle}" text-anchor="end">${row.what}</text>\n${drawn.join('\n')}`;
}
