"""How the page of a report looks: on a telephone, on a wide screen, on paper."""

STYLE = """
:root { color-scheme: light }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c; background: #fff; margin: 0 auto; max-width: 68rem;
  padding: 1.5rem 1rem 3rem; overflow-wrap: break-word }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .8rem } h2 { font-size: 1.25rem; margin: 2.4rem 0 .8rem }
nav ul { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: .3rem 1.1rem }
a { color: #1f4f86 }
.box { overflow-x: auto; margin: 0 0 1.2rem } .box:focus-visible { outline: 2px solid #1f4f86 }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem }
caption span { display: inline-block; position: sticky; left: 0; max-width: calc(100vw - 2.5rem) }
th, td { text-align: left; padding: .35rem .7rem; border-bottom: 1px solid #ddd; vertical-align: top }
th[scope=row] { font-weight: normal; position: sticky; left: 0; background: #fff }
.n { white-space: nowrap } small, .note { color: #555 } .note { font-size: .9em }
code { font-size: .8em; overflow-wrap: anywhere }
ul.warnings, ul.left-out { border-left: 4px solid #d9822b; background: #fff4e0; padding: .7rem 1rem .7rem 2rem }
ul.left-out { border-color: #8a97a5; background: #f1f4f7 }
figure { margin: 0 0 1.6rem } figcaption { font-weight: 600; padding-bottom: .4rem }
img { display: block; max-width: 100%; height: auto }
details { border-top: 1px solid #ddd } details:last-child { border-bottom: 1px solid #ddd }
summary { cursor: pointer; padding: .45rem .2rem } details caption { position: absolute; clip-path: inset(50%) }
@media screen and (max-width: 44rem) { img.large { max-width: none; width: 44rem } th, td { padding: .35rem .45rem } }
@media print {
  @page { margin: 14mm }
  body { max-width: none; padding: 0; font-size: 10.5px } nav { display: none }
  .box { overflow: visible } th, td { padding: .2rem .4rem } code { font-size: .9em }
  h2, figcaption, caption, summary, thead { break-after: avoid } figure, tr, ul { break-inside: avoid }
  img { max-height: 225mm; object-fit: contain; object-position: left }
  details::details-content { content-visibility: visible; display: block; height: auto }
}
"""
