"""One HTML page without anything from elsewhere: its style, figures as SVG that follow the page's colours, tables.

All texts that come from data go through ``text``; what is put together here is markup.
"""

from __future__ import annotations

import html
import io
import json
import math
import re
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from isthmus.view.paper import DARK, LIGHT, Theme, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["as_svg", "bar", "data", "figure", "page", "section", "table", "text"]

MOST = 350_000  # characters of a figure; a larger one is drawn again with fewer pixels
DPIS = (160, 100, 64, 40)  # of the pictures inside of a figure
WIDEST = 5.4  # inches of a figure: on a telephone its smallest words are then still read
DRAWING = threading.Lock()  # matplotlib's settings are held while a figure is written, and put back

STYLE = """
*{box-sizing:border-box}
html{color-scheme:light dark;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:1.0625rem/1.6 Charter,"Bitstream Charter","Sitka Text",
Cambria,Georgia,serif}
main{max-width:44rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1,h2,nav,table,figcaption,dl,svg,footer{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,
sans-serif}
h1{font-size:1.9rem;line-height:1.2;letter-spacing:-.015em;margin:0 0 .5rem;overflow-wrap:anywhere}
h2{font-size:1.3rem;line-height:1.3;letter-spacing:-.01em;margin:3rem 0 .75rem;padding-top:1.25rem;
border-top:1px solid var(--rule)}
p{margin:.75rem 0;overflow-wrap:anywhere}
a{color:inherit;text-decoration-color:var(--faint);text-underline-offset:.2em}
code{font:.9em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.lead{font-size:1.2rem;line-height:1.5}
.note{border-inline-start:3px solid var(--c0);padding:.1rem 0 .1rem .9rem}
.warn{border-inline-start-color:var(--c4)}
.aside{color:var(--faint);font-size:.95rem}
nav ol{display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;list-style:none;margin:1.25rem 0 0;padding:0;font-size:.92rem}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:1rem 1.5rem;margin:1.75rem 0}
.facts div{display:flex;flex-direction:column-reverse;justify-content:flex-end;border-top:2px solid var(--ink);
padding-top:.35rem}
.facts dt{font-size:.82rem;line-height:1.35;color:var(--faint)}
.facts dd{margin:0;font-size:1.65rem;line-height:1.25;font-weight:600;letter-spacing:-.02em;
font-variant-numeric:tabular-nums}
figure{margin:1.75rem 0}
figure>svg{display:block;width:100%;height:auto;margin:0 auto}
svg *{stroke-linejoin:round}
figcaption{font-size:.92rem;line-height:1.5;color:var(--faint);margin-top:.6rem}
figcaption b{color:var(--ink);font-weight:600}
.wide{overflow-x:auto;margin:0;background:linear-gradient(to right,var(--paper) 30%,transparent) 0 0/2rem 100%,
linear-gradient(to left,var(--paper) 30%,transparent) 100% 0/2rem 100%,
linear-gradient(to right,var(--rule),transparent) 0 0/.7rem 100%,
linear-gradient(to left,var(--rule),transparent) 100% 0/.7rem 100%;background-repeat:no-repeat;
background-attachment:local,local,scroll,scroll}
.wide+.wide{margin-top:1.25rem}
table.cells{table-layout:fixed}
table.cells :is(th,td){overflow-wrap:anywhere;white-space:normal}
table{border-collapse:collapse;width:100%;font-size:.9rem;line-height:1.4;font-variant-numeric:tabular-nums}
th,td{padding:.4rem .38rem;text-align:end;border-bottom:1px solid var(--rule);vertical-align:baseline}
th{font-weight:500;color:var(--faint);font-size:.82rem}
tbody th,td.word,th.word{text-align:start}
tbody th{color:var(--ink);font-size:.9rem;font-weight:600}
tr.self td,tr.self th{color:var(--c0)}
td.nowrap,tbody th{white-space:nowrap}
td.off{color:var(--c4);font-weight:600}
.bar{display:inline-block;block-size:.6rem;background:var(--c0);vertical-align:baseline;margin-inline-end:.4rem;
border-radius:1px;min-inline-size:1px;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.bar.other{background:var(--rule)}
dl.words dt{font-weight:600;margin-top:.8rem}
dl.words dd{margin:0;color:var(--faint);font-size:.95rem;line-height:1.5}
footer{margin-top:3rem;padding-top:1rem;border-top:1px solid var(--rule);font-size:.85rem;color:var(--faint)}
@media (max-width:30rem){main{padding:1.5rem 1rem 3rem}h1{font-size:1.55rem}.lead{font-size:1.1rem}
th,td{padding:.35rem .35rem}tbody th{white-space:normal}
table:not(.cells) th:first-child{position:sticky;left:0;background:var(--paper)}
table:not(.cells) tbody th>div{inline-size:max-content;max-inline-size:7.5rem;overflow-wrap:anywhere}
table:not(.cells) td.word{min-width:8rem}
table.below tr{display:grid;grid-template-columns:1fr 6.5rem 4.5rem;border-bottom:1px solid var(--rule)}
table.below :is(th,td){border:0;min-width:0;overflow-wrap:anywhere}
table.below tbody :is(th,td:not(:last-child)){padding-bottom:0}
table.below tbody th>div{inline-size:auto;max-inline-size:none}
table.below :is(th,td):last-child{grid-column:1/-1;font-size:.82rem}
table.cells,table.cells tbody th{font-size:.82rem}}
@media print{@page{margin:18mm 16mm}main{max-width:none;padding:0}body{font-size:10.5pt}h2{break-after:avoid}
nav{display:none}figure,.wide,tr,.facts{break-inside:avoid}figure:has(.wide){break-inside:auto}
figcaption{break-before:avoid;break-inside:avoid}dt{break-after:avoid}dd{break-inside:avoid}.wide{overflow:visible;background:none}
h2{margin-top:1.6rem}figure{margin:1.1rem 0}
table{font-size:8.5pt}tbody th{font-size:8.5pt}th,td{padding:.22rem .38rem}:is(th,td,td.nowrap){white-space:normal;
overflow-wrap:anywhere}thead :is(th,td.nowrap){overflow-wrap:break-word}section>h2+p{break-after:avoid}
a{text-decoration:none}
figure>svg{max-height:7.5cm}}
"""


def text(value: Any, most: int = 300) -> str:
    """A text from data, as markup: one line, no markup of its own, its direction its own affair."""
    return f"<bdi>{html.escape(plain(value, most))}</bdi>"


def _colours(theme: Theme) -> dict[str, str]:
    """Each colour of a theme by the name of its variable."""
    named = {"paper": theme.paper, "ink": theme.ink, "faint": theme.faint, "rule": theme.rule}
    named |= {f"c{i}": colour for i, colour in enumerate(theme.palette)}
    return named | {f"r{i}": colour for i, colour in enumerate(theme.ramp)}


def _variables(theme: Theme) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in _colours(theme).items())


def as_svg(draw: Callable[[], Axes], alt: str, number: int) -> str:
    """What ``draw`` draws on light paper, as an SVG whose colours are the page's and whose words are words.

    Parameters
    ----------
    draw : makes the Axes
    alt : what is to be seen, for those who do not see it
    number : of the figure on the page, so that its names clash with no other's
    """
    import matplotlib

    made = ""
    for dpi in DPIS:
        into = io.StringIO()
        with DRAWING, warnings.catch_warnings(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "i"}):
            warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the reader's browser has it
            canvas = draw().get_figure(root=True)
            assert canvas is not None
            across, down = canvas.get_size_inches()
            canvas.set_size_inches(min(across, WIDEST), down * min(1.0, WIDEST / across))
            canvas.savefig(into, format="svg", dpi=dpi, metadata={"Date": None, "Creator": None})
        made = _tidied(into.getvalue(), alt, number)
        if len(made) < MOST:
            break
    return made


def _tidied(svg: str, alt: str, number: int) -> str:
    """The drawing as it may stand in a page: no addresses, no names that clash, colours by name."""
    svg = svg[svg.index("<svg") :]
    for waste in (r"<metadata>.*?</metadata>", r"<!--.*?-->", r"<style\b.*?</style>"):
        svg = re.sub(waste, "", svg, flags=re.S)
    head, body = svg[: svg.index(">") + 1], svg[svg.index(">") + 1 :]
    box = re.search(r'viewBox="([^"]*)"', head)
    assert box is not None
    body = body.replace("xlink:href", "href").replace(' xml:space="preserve"', "")
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', body))
    names = {name for pair in used for name in pair if name}
    body = re.sub(r' id="([^"]*)"', lambda m: f' id="f{number}-{m[1]}"' if m[1] in names else "", body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#f{number}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#f{number}-\1)", body)
    named = {colour.lower(): f"var(--{name})" for name, colour in reversed(_colours(LIGHT).items())}

    def styled(found: re.Match[str]) -> str:
        style = re.sub(r"font-family: [^;\"]*;? ?", "", found[1])
        style = re.sub(r"#[0-9a-f]{6}\b", lambda colour: named.get(colour[0], colour[0]), style)
        return f'style="{style}"'

    body = re.sub(r'style="([^"]*)"', styled, body)
    body = re.sub(r"\n +", "\n", body)
    width = float(box[1].split()[2])
    label = html.escape(plain(alt, 600), quote=True)
    return f'<svg viewBox="{box[1]}" style="max-width:{width * 1.5:.0f}px" role="img" aria-label="{label}">{body}'


def figure(inside: str, title: str, read: str) -> str:
    """Something to look at, what it is, and one sentence on how to read it; all three are markup."""
    return f"<figure>{inside}<figcaption><b>{title}</b> {read}</figcaption></figure>"


def section(name: str, title: str, *parts: str) -> str:
    """A part of the page with its heading; nothing where there is nothing in it."""
    inside = "\n".join(part for part in parts if part)
    return f'<section id="{name}" aria-labelledby="{name}-h"><h2 id="{name}-h">{title}</h2>\n{inside}</section>\n'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, label: str, words: Sequence[int] = (),
          marked: Sequence[int] = (), off: Sequence[tuple[int, int]] = (), cells: bool = False,
          below: bool = False) -> str:  # fmt: skip
    """Rows of markup; the first cell of a row is its name.

    Parameters
    ----------
    label : what the table holds, for those who hear it
    words : columns that hold words, which begin at the left
    marked : rows that are drawn the eye to; off: (row, column) of cells that are wrong
    cells : columns are alike in width, and what is long in them is broken over lines
    below : on a narrow page the last column stands below the others
    """

    def cell(i: int, j: int, inside: str) -> str:
        if j == 0:
            # a long name breaks at its underscores, where it has any
            broken = inside.replace("_", "_<wbr>") if inside.startswith("<bdi>") else inside
            return f'<th scope="row"><div>{broken}</div></th>'
        kind = ' class="nowrap"' if inside.startswith("<span") else ' class="word"' if j in words else ""
        kind = ' class="off"' if (i, j) in off else kind
        return f"<td{kind}>{inside}</td>"

    heads = "".join(f'<th scope="col"{" class=word" if j in (0, *words) else ""}>{name}</th>'
                    for j, name in enumerate(head))  # fmt: skip
    lines = []
    for i, row in enumerate(rows):
        inside = "".join(cell(i, j, one) for j, one in enumerate(row))
        lines.append(f"<tr{' class=self' if i in marked else ''}>{inside}</tr>")
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{html.escape(label, quote=True)}">'
        f"<table{' class=cells' if cells else ' class=below' if below else ''}><thead><tr>"
        f"{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def bar(share: float, other: bool = False, most: float = 4.0) -> str:
    """A bar of so many of the most there are, in units of the text's size."""
    width = most * min(max(share, 0.0), 1.0)
    return f'<span class="bar{" other" if other else ""}" style="inline-size:{width:.2f}rem" aria-hidden="true"></span>'


def data(found: dict[str, Any]) -> str:
    """The figures of the page for programs, as JSON that cannot end its own element."""
    told = json.dumps(_finite(found), allow_nan=False)
    safe = told.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return f'<script type="application/json" id="figures">{safe}</script>'


def _finite(value: Any) -> Any:
    """What JSON can hold: NumPy's numbers as Python's, those that are not finite as null."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, dict):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def page(title: str, body: str) -> str:
    """The whole document; the title is a text, the body markup."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(plain(title, 200))}</title>\n<style>\n:root{{{_variables(LIGHT)}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
