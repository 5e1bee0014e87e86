/** One style sheet, so that the content security policy can forbid all others. */
export const styleSheet = `
:root {
  color-scheme: light dark;
  --ink: light-dark(#1c1f23, #e8eaed); --quiet: light-dark(#565c64, #aab1ba); --line: light-dark(#d9dee4, #3a4048);
  --paper: light-dark(#fff, #1d2126); --ground: light-dark(#f4f6f9, #14171b); --accent: light-dark(#0b57d0, #8ab4f8);
  --good: light-dark(#146c43, #6dd58c); --warn: light-dark(#8a5300, #fdc36b); --bad: light-dark(#b3261e, #f2b8b5);
}
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif }
a { color: var(--accent) }
a:focus-visible, button:focus-visible, input:focus-visible, summary:focus-visible, .scroll:focus-visible {
  outline: 3px solid var(--accent); outline-offset: 2px;
}
header { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1.5rem; padding: .75rem 1.25rem; border-bottom: 1px solid var(--line); background: var(--paper) }
header nav { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center }
header form { display: flex; gap: .5rem; margin-left: auto; flex: 0 1 26rem }
header input { flex: 1 1 8rem; min-width: 0 }
input, button { font: inherit; padding: .35rem .75rem; border: 1px solid var(--quiet); border-radius: .4rem; background: var(--paper); color: var(--ink) }
button { cursor: pointer; color: var(--accent); font-weight: 600 }
main { max-width: 76rem; margin: 0 auto; padding: 1.25rem }
h1 { font-size: 1.5rem; font-weight: 600; margin: 0 0 1rem; overflow-wrap: anywhere }
h2 { font-size: 1.05rem; margin: 0 0 .5rem }
section { background: var(--paper); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.25rem; margin: 0 0 1rem; min-width: 0 }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 0 1rem; align-items: stretch }
dl { display: grid; grid-template-columns: minmax(6rem, 10rem) 1fr; gap: .25rem 1rem; margin: 0 }
dt { color: var(--quiet) }
dd { margin: 0; overflow-wrap: anywhere }
ul { margin: 0; padding-left: 1.1rem }
li { overflow-wrap: anywhere }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .93rem }
th, td { text-align: left; padding: .3rem 1rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
th { color: var(--quiet); font-weight: 500 }
.number { text-align: right }
.status { font-weight: 600 }
.pass, .scheduled, .held { color: var(--good) }
.warning, .pending, .waiting_for_connection, .conflict { color: var(--warn) }
.failure, .failed, .missed { color: var(--bad) }
.notice { border-left: .3rem solid var(--accent) }
.notice.refused { border-left-color: var(--bad) }
.actions li { margin: .35rem 0 }
.actions form { display: inline }
small, .quiet { color: var(--quiet) }
svg { display: block; max-width: 100%; height: auto; font: 12px system-ui, sans-serif }
svg text { fill: var(--ink) }
svg .quiet { fill: var(--quiet) }
svg .axis { stroke: var(--line); stroke-width: 1 }
svg .dot { fill: var(--accent) } svg .dot.bad { fill: var(--bad) } svg .dot.good { fill: var(--good) }
svg .path { fill: none; stroke: var(--quiet); stroke-width: 1.5 }
svg .bar-0, .key-0 { fill: var(--good); color: var(--good) }
svg .bar-1, .key-1 { fill: var(--warn); color: var(--warn) }
svg .bar-2, .key-2 { fill: var(--bad); color: var(--bad) }
svg .bar-3, .key-3 { fill: var(--accent); color: var(--accent) }
.keys { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1rem; font-size: .9rem }
.keys b { color: inherit }
.week { display: grid; grid-template-columns: repeat(7, minmax(0, 1fr)); gap: .5rem; list-style: none; padding: 0 }
.week > li { border-top: 3px solid var(--line); padding-top: .35rem; min-height: 5rem }
.week > li.today { border-top-color: var(--accent) }
.week ul { list-style: none; padding: 0 }
.week ul li { margin: .35rem 0; font-size: .9rem }
.weeks { display: flex; flex-wrap: wrap; gap: .5rem 1rem }
.visually-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
@media (max-width: 46rem) {
  .week { grid-template-columns: 1fr } .week > li { min-height: 0 }
  dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: .4rem }
}
`;

export const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect x="3" y="5" width="26" height="24" rx="5" fill="#0b57d0"/><path d="M9 19l5 5 9-11" fill="none" stroke="#fff" stroke-width="3"/></svg>`;
