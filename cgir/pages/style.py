"""The style sheet of report pages: light or dark as the reader's system, and light in print."""

STYLE = """
:root { color-scheme: light dark; --ink: #222; --soft: #555; --line: #ddd; --paper: #fff; --code: #f7f7f7;
  --dot: #2b6cb0; --best: #e66100; --bad: #b3261e }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --soft: #aaa; --line: #3d3d3d;
  --paper: #181818; --code: #242424; --dot: #7fb2e5; --best: #ff9a4d; --bad: #ff8a80 } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: var(--ink);
  background: var(--paper) }
h1 { font-size: 1.6rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
p, figcaption { color: var(--soft); margin: .3rem 0 } .big { color: var(--ink); font-size: 1.1rem }
table { border-collapse: collapse; font-size: .87rem } .scroll { overflow-x: auto }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top }
th.t, td.t { text-align: left } code, pre { font: .8rem/1.45 ui-monospace, monospace }
td code { overflow-wrap: anywhere } pre { background: var(--code); padding: .8rem; overflow-x: auto }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1.2rem }
figure { margin: 0; break-inside: avoid } figcaption { font-size: .87rem }
.chart { width: 100%; height: auto } .chart text { font: 12px system-ui, sans-serif; fill: var(--soft);
  text-anchor: middle } .chart .y { text-anchor: end } .chart .l { fill: var(--ink) }
.chart path { fill: none } .chart .grid { stroke: var(--line); stroke-width: .7 } .chart .axis { stroke: var(--soft) }
.chart .dot, .chart .out, .chart .front { stroke: var(--dot); stroke-width: 6; stroke-linecap: round; opacity: .6 }
.chart .out { opacity: .2 } .chart .front { stroke: var(--best); stroke-width: 8; opacity: 1 }
.chart .best, .chart .edge { stroke: var(--best); stroke-width: 2 } .chart .edge { stroke-width: 1.2 }
.chart .error { stroke: var(--dot); stroke-width: 1; opacity: .5 }
.chart .same { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 4 4 }
.chart .fail { stroke: var(--bad); stroke-width: 1.6 } .chart .wide { fill: var(--best); opacity: .14 }
.chart .narrow { fill: var(--best); opacity: .25 }
.bar { display: inline-block; height: .8em; background: var(--dot) } .bar.less { background: var(--bad) }
.drawing { background: #fff; color: #222; overflow: auto; max-height: 46rem; border: 1px solid var(--line) }
.drawing svg, .drawing img { display: block; margin: 0 auto }
@media print { body { max-width: none; margin: 0 } .drawing { max-height: none; overflow: visible }
  .drawing svg, .drawing img { max-width: 100%; height: auto } pre, td code { white-space: pre-wrap } }
"""
