import { html } from 'hono/html';
import type { Booking } from '../../../shared/booking/booking.ts';
import { total } from '../ops/metrics.ts';
import type { Html } from './layout.ts';

/** Charts as SVG, each with the same facts as text beside it. */

const lanes = ['payments', 'changes', 'attempts', 'calendar'] as const;
type Lane = (typeof lanes)[number];

/** Where an entry of a timeline is drawn. */
function laneOf(what: string): Lane {
  if (/payment|^paid|refund|dispute/.test(what)) return 'payments';
  if (/attempt|paused|not found|connection/.test(what)) return 'attempts';
  if (/declared|requested|cancelled|^moved|user/.test(what)) return 'changes';
  return 'calendar';
}

function toneOf(what: string): string {
  if (/failed|missed|conflict|not found|does not count|deleted/.test(what)) return ' bad';
  return /scheduled|^held|^changed/.test(what) ? ' good' : '';
}

const column = 64;
const laneHeight = 34;
const left = 84;

/** The history of a booking: a column for each entry, a row for each kind, and the time that passed in between. */
export function timelineChart(timeline: Booking['timeline']): Html {
  const points = timeline.map(({ at, what }, index) => ({
    at,
    what,
    x: left + column * (index + 0.5),
    y: laneHeight * (lanes.indexOf(laneOf(what)) + 0.5),
  }));
  const width = left + column * timeline.length;
  const height = laneHeight * lanes.length + 24;
  const path = points.map(({ x, y }) => `${x},${y}`).join(' ');
  const rows = lanes.map((lane, index) => {
    const y = laneHeight * (index + 0.5);
    return html`<text class="quiet" x="0" y="${y + 4}">${lane}</text>
      <line class="axis" x1="${left}" x2="${width}" y1="${y}" y2="${y}"/>`;
  });
  const gaps = points.map(({ at, x }, index) => {
    const before = points[index - 1];
    const label = before
      ? `+${passed((Date.parse(at) - Date.parse(before.at)) / 1000)}`
      : at.slice(5, 16).replace('T', ' ');
    return html`<text class="quiet" text-anchor="middle" x="${x}" y="${height - 6}">${label}</text>`;
  });
  const dots = points.map(
    ({ what, at, x, y }) =>
      html`<circle class="dot${toneOf(what)}" cx="${x}" cy="${y}" r="7"><title>${at} ${what}</title></circle>`,
  );
  return html`<div class="scroll" tabindex="0" role="group" aria-label="Timeline chart"><svg role="img" aria-label="Timeline of ${timeline.length} entries; the list below has the same facts" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">
    ${rows}<polyline class="path" points="${path}"/>${dots}${gaps}</svg></div>`;
}

/** A duration in its largest unit. */
export function passed(seconds: number): string {
  const units: [string, number][] = [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
  ];
  const [unit, length] = units.find(([, size]) => seconds >= size) ?? ['s', 1];
  return `${Math.round(seconds / length)} ${unit}`;
}

/** `values`: one for each part of the time that is shown; undefined where nothing was recorded. */
export type Series = { name: string; values: (number | undefined)[] };

/** Bars for each part of a time, stacked in the order given, with their values as a table. */
export function barChart(title: string, labels: string[], series: Series[]): Html {
  const [width, height, base] = [420, 120, 96];
  const totals = labels.map((_, part) => total(series.map(({ values }) => values[part])));
  const most = Math.max(1, ...totals);
  const step = width / labels.length;
  const bars = labels.map((_, part) => {
    let from = base;
    return series.map(({ values }, index) => {
      const size = ((values[part] ?? 0) / most) * base;
      from -= size;
      return size === 0
        ? ''
        : html`<rect class="bar-${index}" x="${part * step + 1}" width="${step - 2}" y="${from}" height="${size}"/>`;
    });
  });
  const edges = [0, labels.length - 1].map((part) => {
    const anchor = part === 0 ? 'start' : 'end';
    return html`<text class="quiet" text-anchor="${anchor}" x="${part === 0 ? 0 : width}" y="${height - 6}">${labels[part]}</text>`;
  });
  const row = (label: string, part: number): Html =>
    html`<tr><th scope="row">${label}</th>${series.map(({ values }) => html`<td class="number">${values[part] ?? '–'}</td>`)}</tr>`;
  return html`<h3 class="quiet">${title}</h3>
    <svg role="img" aria-label="${title}: at most ${most}" viewBox="0 0 ${width} ${height}">
      <line class="axis" x1="0" x2="${width}" y1="${base}" y2="${base}"/>${bars}${edges}</svg>
    <ul class="keys">${series.map(({ name, values }, index) => html`<li class="key-${index}"><b>${total(values)}</b> ${name}</li>`)}</ul>
    <details><summary>As a table</summary><div class="scroll" tabindex="0" role="group" aria-label="${title}"><table>
      <thead><tr><td></td>${series.map(({ name }) => html`<th scope="col">${name}</th>`)}</tr></thead>
      <tbody>${labels.map(row)}</tbody></table></div></details>`;
}
