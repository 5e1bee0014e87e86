const quarterRows = Array.from({ length: 96 }, (_, index) => index + 1);
const laneNumbers = [1, 2, 3, 4, 5, 6];

/**
 * One rule per position in the day and per length, so that pages need no style attributes and the content security
 * policy can forbid them.
 */
const placement = [
  ...quarterRows.map((row) => `.from-${row}{grid-row-start:${row}}.for-${row}{grid-row-end:span ${row}}`),
  ...quarterRows.map((rows) => `.rows-${rows}{--rows:${rows}}`),
  ...laneNumbers.map((lanes) => `.lanes-${lanes}{grid-template-columns:repeat(${lanes},minmax(0,1fr))}`),
  ...laneNumbers.map((lane) => `.lane-${lane}{grid-column:${lane}}`),
  '.lane-all{grid-column:1/-1}',
].join('\n');

export const styleSheet = `
:root {
  --ink: #1f1f1f; --quiet: #5a5f66; --line: #dde1e6; --paper: #fff; --ground: #f3f6fb;
  --accent: #0b57d0; --accent-soft: #d7e5fd; --second: #146c43; --quarter: 0.8rem;
  color-scheme: light;
}
* { box-sizing: border-box }
body {
  margin: 0; min-height: 100vh; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 Roboto, "Segoe UI", system-ui, sans-serif;
}
a { color: var(--accent) }
a:focus-visible, button:focus-visible, input:focus-visible, summary:focus-visible, pre:focus-visible {
  outline: 3px solid var(--accent); outline-offset: 2px;
}
h1 { font-size: 1.6rem; font-weight: 400; line-height: 1.25; margin: 0 0 .5rem; overflow-wrap: anywhere }
h2 { font-size: 1rem; font-weight: 500; margin: 1.5rem 0 .5rem }
code, pre { font: .82em/1.45 "Roboto Mono", ui-monospace, monospace; overflow-wrap: anywhere }
pre { background: var(--ground); border-radius: .5rem; padding: .75rem 1rem; overflow-x: auto }
small { color: var(--quiet) }
ul { list-style: none; margin: 0; padding: 0 }
.banner {
  display: flex; flex-wrap: wrap; gap: .25rem .75rem; padding: .5rem 1rem; font-size: .85rem;
  background: #fff4d6; border-bottom: 1px solid #ecd9a0; color: #4d3c00;
}
.banner a { color: inherit; font-weight: 700 }
.card {
  max-width: 30rem; margin: 8vh auto; padding: 2.25rem; background: var(--paper);
  border: 1px solid var(--line); border-radius: 1.5rem;
}
.card.broad { max-width: 46rem; margin-block: 4vh }
.avatar {
  flex: none; display: inline-grid; place-items: center; width: 2.25rem; height: 2.25rem;
  border-radius: 50%; background: var(--accent); color: #fff; font-weight: 500;
}
button, .button {
  font: inherit; font-size: .9rem; font-weight: 500; padding: .45rem 1.1rem; cursor: pointer; text-decoration: none;
  color: var(--accent); background: var(--paper); border: 1px solid #747a82; border-radius: 2rem;
}
button:hover, .button:hover { background: #eef4fe }
button.primary { color: #fff; background: var(--accent); border-color: var(--accent) }
button.primary:hover { background: #0842a0 }
.buttons { display: flex; justify-content: flex-end; gap: .75rem; margin: 2rem 0 0 }
.accounts li + li { border-top: 1px solid var(--line) }
.account {
  display: flex; align-items: center; gap: .9rem; width: 100%; padding: .75rem .5rem; text-align: left;
  color: inherit; background: none; border: 0; border-radius: .5rem; font-size: 1rem; font-weight: 400;
  text-decoration: none;
}
.account:hover { background: #eef4fe }
.account strong { font-weight: 500 }
.chosen { display: flex; align-items: center; gap: .6rem; flex-wrap: wrap; margin: 0 }
.card .chosen { margin-bottom: 1.25rem }
.chosen span { line-height: 1.2 }
.chosen a { margin-left: auto; font-size: .9rem }
fieldset { border: 0; margin: 1.5rem 0 0; padding: 0 }
legend { font-weight: 500; padding: 0; margin-bottom: .25rem }
.scopes li { padding: .6rem 0; border-top: 1px solid var(--line) }
.scopes label { display: flex; gap: .75rem; align-items: flex-start; cursor: pointer }
.scopes input { width: 1.15rem; height: 1.15rem; margin: .2rem 0 0; accent-color: var(--accent); flex: none }
.scopes code { color: var(--quiet) }
table { border-collapse: collapse; font-size: .95rem }
.scroll { overflow-x: auto }
td { padding: .25rem 1.5rem .25rem 0; vertical-align: top }
dl { margin: 1rem 0 }
dl div { display: grid; grid-template-columns: 9rem 1fr; gap: 1rem; padding: .4rem 0; border-top: 1px solid var(--line) }
dt { color: var(--quiet); overflow-wrap: anywhere }
dd { margin: 0; overflow-wrap: anywhere }
.text { white-space: pre-line }
.cancelled { text-decoration: line-through }
.notice { background: #fde8e6; color: #7d1a12; border-radius: .5rem; padding: .5rem 1rem }
.visually-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }

.wide main { padding: 1rem 1.25rem 2rem; max-width: 90rem; margin: 0 auto }
.toolbar { display: flex; flex-wrap: wrap; align-items: center; gap: .75rem 1.5rem; margin-bottom: 1rem }
.toolbar h1 { margin: 0; min-width: 11rem }
.toolbar nav { display: flex; flex-wrap: wrap; gap: .5rem; margin-right: auto }
.week {
  display: grid; grid-template-columns: 3.75rem repeat(7, minmax(0, 1fr)); grid-template-rows: auto auto auto;
  background: var(--paper); border: 1px solid var(--line); border-radius: 1.25rem; padding-bottom: 1rem; overflow: hidden;
}
.hours {
  grid-row: 3; display: grid; grid-template-rows: repeat(calc(var(--rows) / 4), calc(4 * var(--quarter)));
  color: var(--quiet); font-size: .72rem; text-align: right; padding-right: .6rem;
}
.hours span { transform: translateY(-.55rem) }
.hours span:first-child { visibility: hidden }
.day { grid-row: 1 / 4; display: grid; grid-template-rows: subgrid; border-left: 1px solid var(--line) }
.day h2 {
  margin: 0; padding: .6rem 0 .4rem; display: grid; justify-items: center; gap: .15rem;
  font-size: .72rem; text-transform: uppercase; letter-spacing: .04em; color: var(--quiet);
}
.day .number { display: grid; place-items: center; width: 2.4rem; height: 2.4rem; border-radius: 50%; font-size: 1.35rem; color: var(--ink) }
.today h2 { color: var(--accent) }
.today .number { background: var(--accent); color: #fff }
.all-day { min-height: 1.5rem; padding: 0 2px 2px; border-bottom: 1px solid var(--line); display: grid; gap: 2px; align-content: start }
.slots {
  display: grid; grid-template-rows: repeat(var(--rows), var(--quarter)); column-gap: 2px; padding-right: 4px;
  background: repeating-linear-gradient(to bottom, transparent 0 calc(4 * var(--quarter) - 1px), var(--line) 0 calc(4 * var(--quarter)));
}
.slots li { min-width: 0; min-height: 0 }
.event {
  display: block; height: 100%; overflow: hidden; padding: .1rem .4rem; border-radius: .4rem; text-decoration: none;
  font-size: .75rem; line-height: 1.3; color: #fff; background: var(--accent); border: 1px solid var(--paper);
}
.event:hover { filter: brightness(.88) }
.event strong { font-weight: 500 }
.event strong, .event span { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.event strong:first-child { white-space: normal }
.short .event { display: flex; gap: .4rem; padding-block: 0; font-size: .7rem; line-height: 1.25 }
.short .event strong { flex: 0 1 auto; white-space: nowrap }
.for-1 .event { font-size: .62rem; line-height: 1.1 }
.all-day .event span { display: none }
.all-day .event strong { white-space: nowrap }
.secondary { background: var(--second) }
.tentative { color: var(--accent); background: var(--paper); border: 1px dashed var(--accent) }
.apps form { display: flex; flex-wrap: wrap; align-items: center; gap: 1rem; margin: .5rem 0 }

@media (max-width: 46rem) {
  .card { margin: 1rem; padding: 1.25rem }
  dl div { grid-template-columns: 1fr; gap: 0 }
  .week { display: block; padding: 0 }
  .hours { display: none }
  .day { display: block; border-left: 0; border-top: 1px solid var(--line); padding: .25rem .75rem .75rem }
  .day h2 { display: flex; align-items: center }
  .slots { display: grid; grid-template: none; background: none; gap: 4px }
  .slots li { grid-area: auto }
  .short .event { font-size: .75rem; padding-block: .2rem }
  .all-day { border: 0; min-height: 0 }
}
${placement}
`;

export const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect x="3" y="5" width="26" height="24" rx="5" fill="#0b57d0"/><rect x="7" y="12" width="18" height="13" rx="2" fill="#fff"/><path d="M10 3v5M22 3v5" stroke="#0b57d0" stroke-width="3" stroke-linecap="round"/></svg>`;
