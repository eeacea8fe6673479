"""Pages that people look at: one file of HTML with everything inline, and no network.

A page is text, tables (`table`), charts drawn by matplotlib as SVG (`chart`) and pictures
(`gallery`), in named sections that `page` puts together. Every string that these
functions take as text is escaped; what they return is HTML.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from ..support.files import atomic_path

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe & Ito

# The colours that stand in the place of ink and of thin lines in a chart, until a page is shown.
_INK, _LINE = "#010203", "#040506"
_LOSSLESS_SIDE = 64  # pixels up to which pictures are PNG; larger ones are JPEG, as noise is large
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5f6873; --line: #d9dee3;
  --paper: #ffffff; --card: #f6f7f9; --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ea; --soft: #9aa4ae; --line: #343b43;
  --paper: #14171a; --card: #1d2126; --accent: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main, header, footer { max-width: 62rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.25rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em;
  overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 .4rem; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
.lead, figcaption, footer, .note { color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: .8rem 0; font-size: .92rem;
  border-bottom: 1px solid var(--line); }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
section { padding: 1.6rem 0 .6rem; scroll-margin-top: .5rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem;
  margin-bottom: .9rem; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .7rem .9rem; }
.tile b { display: block; font-size: 1.45rem; font-weight: 600; line-height: 1.3; }
.tile span { color: var(--soft); font-size: .88rem; display: block; line-height: 1.35; }
figure { margin: .6rem 0 1rem; overflow-x: auto; }
figure svg { display: block; width: 100%; height: auto; min-width: 28rem; max-width: 46rem; }
figcaption { font-size: .9rem; margin-top: .35rem; max-width: 46rem; }
.scroll { overflow-x: auto; margin: .5rem 0 1rem; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .9rem .35rem 0; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { font-weight: 600; border-bottom-width: 2px; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
img { image-rendering: pixelated; display: block; max-width: 100%; }
.blocks { display: grid; gap: 1rem; margin: .9rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(17rem, 100%), 1fr)); }
h3 { font-size: .95rem; margin: .7rem 0 .25rem; font-weight: 600; }
.blocks h3 { margin: 0; }
h3 + .note { margin: 0 0 .4rem; font-size: .88rem; line-height: 1.4; }
@media (min-width: 50rem) { .blocks h3 + .note { min-height: 2.5rem; } }
.images { display: grid; gap: .4rem; }
.images div { background: var(--card); border-radius: 4px; overflow: hidden; }
.images img { width: 100%; }
footer { font-size: .85rem; padding-top: 1rem; padding-bottom: 2.5rem;
  margin-top: 1.5rem; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
"""


def page(
    title: str,
    lead: str,
    sections: Mapping[str, tuple[str, str]],
    foot: str = "",
    style: str = "",
    script: str = "",
) -> str:
    """Put a page together.

    Parameters
    ----------
    title, lead, foot : str
        Text: heading, what the page is about, and where it comes from.
    sections : mapping
        By the name that a link ends in (``#name``): heading as text, and content as HTML.
    style, script : str
        CSS and JavaScript beyond what every page has.
    """
    links = "".join(
        f'<a href="#{escape(name)}">{escape(heading)}</a>\n'
        for name, (heading, _) in sections.items()
    )
    content = "\n".join(
        f'<section id="{escape(name)}">\n<h2>{escape(heading)}</h2>\n{body}\n</section>'
        for name, (heading, body) in sections.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}{style}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="lead">{escape(lead)}</p>
<nav aria-label="Sections">
{links}</nav>
</header>
<main>
{content}
</main>
<footer>{escape(foot)}</footer>
{f"<script>{script}</script>" if script else ""}
</body>
</html>
"""


def save_page(path: str | os.PathLike[str], text: str) -> None:
    """Write a page, complete or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def legend_above(axes: Any) -> None:
    """Put a chart's legend above it, where it hides nothing."""
    axes.legend(fontsize=8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of text; ``kind`` may be "note"."""
    return f'<p class="{escape(kind)}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def tiles(values: Mapping[str, str]) -> str:
    """The few numbers that matter most, large: text by what it is."""
    boxes = [
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in values.items()
    ]
    return f'<div class="tiles">{"".join(boxes)}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of text, its first column to the left and the others to the right."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def chart(
    draw: Callable[[Any, Any], None],
    caption: str,
    size: tuple[float, float] = (6.0, 3.2),
) -> str:
    """A chart as inline SVG, whose ink is light on a dark page.

    Parameters
    ----------
    draw : function of a matplotlib figure and its axes
        Draws into them. Titles of axes are left out: the section has one.
    caption : str
        Text below the chart, and what screen readers say.
    size : (float, float)
        Width and height in inches, which set the size of letters; the page sets that of the chart.
    """
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.figure import Figure

    inks = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    look: Any = {  # names are checked by matplotlib
        **dict.fromkeys(inks, _INK),
        "grid.color": _LINE,
        "axes.grid": True,
        "axes.prop_cycle": cycler(color=COLOURS),
        "axes.axisbelow": True,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "svg.fonttype": "none",
        "svg.hashsalt": caption,  # names inside the file, the same from run to run
        "font.size": 9,
    }
    buffer = io.StringIO()
    with mpl.rc_context(look):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        draw(figure, axes)
        axes.set_title("")
        figure.savefig(buffer, format="svg", dpi=150, metadata={"Date": None})
    return f"<figure>{_inline(buffer.getvalue(), caption)}\n{_caption(caption)}</figure>"


def _caption(text: str) -> str:
    return f"<figcaption>{escape(text)}</figcaption>"


def _inline(svg: str, label: str) -> str:
    """What matplotlib wrote, without what a file of its own needs, in the page's letters."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    svg = svg.replace(_INK, "var(--ink)").replace(_LINE, "var(--line)")
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)


def data_uri(image: np.ndarray, quality: int = 85) -> str:
    """An image as a link that holds it.

    Parameters
    ----------
    image : (H, W, C) uint8
        One channel is grey, three are red, green and blue; any others are shown side by side in
        grey. PNG up to 64 pixels a side, JPEG above.
    quality : int
        Of JPEG, up to 95.
    """
    height, width, channels = image.shape
    if channels not in (1, 3):
        image = image.transpose(0, 2, 1).reshape(height, channels * width, 1)
    small = max(height, width) <= _LOSSLESS_SIDE
    buffer = io.BytesIO()
    drawn = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    if small:
        drawn.save(buffer, format="PNG", optimize=True)
    else:
        drawn.save(buffer, format="JPEG", quality=quality, subsampling=0)
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def gallery(kind: str, title: str, note: str, uris: Sequence[str], columns: int) -> str:
    """Pictures in columns below a title and a note; a page's ``blocks`` stand side by side.

    Scripts and styles know the pictures by their class ``kind``, and the note by ``kind-note``.
    """
    name = escape(kind)
    boxes = "\n".join(
        f'<div><img class="{name}" src="{escape(uri)}" alt="{escape(title)}, {i + 1}"></div>'
        for i, uri in enumerate(uris)
    )
    width = f"grid-template-columns: repeat({columns}, minmax(0, 1fr))"
    below = f'<p class="note" id="{name}-note">{escape(note)}</p>' if note else ""
    return (
        f"<div><h3>{escape(title)}</h3>{below}\n"
        f'<div class="images" style="{width}">{boxes}</div></div>'
    )


def blocks(parts: Sequence[str]) -> str:
    """Galleries side by side where the page is wide enough, else one below the other."""
    return f'<div class="blocks">{"".join(parts)}</div>'


def number(value: float) -> str:
    """A number of three digits, thousands in full."""
    return f"{value:,.0f}" if 999.5 <= abs(value) < 1e7 else f"{value:.3g}"


def decibels(value: float) -> str:
    """Decibels with a true minus."""
    return signed(f"{value:.1f} dB")


def signed(text: str) -> str:
    """A formatted number with a true minus."""
    return text.replace("-", "\N{MINUS SIGN}", 1) if text.startswith("-") else text


def inline_json(name: str, content: Any) -> str:
    """Data for a page's script, which finds them by ``name``."""
    text = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{escape(name)}">{text}</script>'
