"""The pieces of a report page: one self-contained HTML file, without scripts, for light and dark screens, wide
and narrow, and for paper.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --page: #fbfbf9; --card: #ffffff; --ink: #1f2933; --soft: #5d6875; --line: #dfe3e8;
  --accent: #2168b0; --warn: #a24b0c; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14181d; --card: #1b2027; --ink: #e3e8ee; --soft: #9aa6b2; --line: #323a44;
    --accent: #7db4ef; --warn: #f0a566; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 2.75rem 0 .6rem; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
section section { border-left: 3px solid var(--line); padding-left: 1rem; }
section section h2 { font-size: 1.05rem; margin-top: 1.5rem; }
p { margin: .4rem 0; max-width: 46rem; }
ul { padding-left: 1.2rem; max-width: 46rem; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: 1rem 0 0; font-size: .92rem; }
.soft, figcaption, li { color: var(--soft); font-size: .92rem; }
.warning { color: var(--warn); font-size: .92rem; }
.say { font-size: 1.02rem; }
.headline { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .8rem; margin: 1.4rem 0; }
.headline div { background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; padding: .8rem .9rem; }
.headline b { display: block; font-size: 1.5rem; line-height: 1.35; font-variant-numeric: tabular-nums; white-space: nowrap; }
.headline span { color: var(--soft); font-size: .86rem; display: block; }
.wide { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .38rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.words { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 14rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1rem; margin: 1rem 0; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .9rem; min-width: 0; }
figure svg { display: block; width: 100%; max-width: 36rem; margin: 0 auto; height: auto; color: var(--ink); }
.pictures > figure:only-child { max-width: 34rem; }
figcaption { margin-top: .5rem; }
.faces { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .8rem; margin: .8rem 0; }
.faces figure { padding: .6rem; }
.faces .both { display: grid; grid-template-columns: 1fr 1fr; gap: .3rem; }
.faces img, .faces .absent { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: .3rem; display: block; }
.faces .absent { border: 1px dashed var(--line); display: grid; place-items: center; color: var(--soft); font-size: .8rem; }
.faces figcaption { font-size: .8rem; line-height: 1.35; overflow-wrap: anywhere; }
.faces b { color: var(--ink); font-size: .92rem; font-variant-numeric: tabular-nums; }
@media (max-width: 34rem) { main { padding: 1.5rem .9rem 3rem; } h1 { font-size: 1.4rem; }
  .headline, .faces { grid-template-columns: 1fr 1fr; gap: .6rem; } .headline b { font-size: 1.25rem; }
  th, td { padding: .34rem .5rem; } .words { min-width: 10rem; } figure { padding: .6rem; } }
@media print { :root { color-scheme: light; --page: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #bbb; }
  main { max-width: none; padding: 0; } figure, tr, .headline div { break-inside: avoid; } h2, h3 { break-after: avoid; }
  nav { display: none; } }
"""


def page(title: str, subtitle: str, sections: Iterable[str], names: Sequence[str] = ()) -> bytes:
    """The whole HTML file, UTF-8; ``sections`` are HTML already, ``names`` are the titles to link to at the top."""
    body = "\n".join(sections)
    links = "".join(f'<a href="#{anchor(name)}">{escape(name)}</a>\n' for name in names)
    contents = f"<nav>\n{links}</nav>\n" if links else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(title)}</h1>\n<p class="soft">{escape(subtitle)}</p>\n{contents}{body}\n</main>\n</body>\n</html>\n'
    ).encode()


def anchor(title: str) -> str:
    """The id of a section: its title in small letters, words joined by hyphens, and a number where another title has the same words."""
    words = "-".join(re.findall(r"[a-z0-9]+", title.lower()))
    return words if words == title.lower().replace(" ", "-") else f"{words or 'section'}-{zlib.crc32(title.encode()):x}"


def section(title: str, parts: Iterable[str], inner: bool = False) -> str:
    """A heading and its parts (HTML); an ``inner`` section is not linked to and may share its title with others."""
    named = "" if inner else f' id="{anchor(title)}"'
    return f"<section{named}>\n<h2>{escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def paragraph(text: str, kind: str = "soft") -> str:
    """A line of text: ``soft`` for what explains, ``say`` for what is found, ``warning`` for what to mind."""
    return f'<p class="{kind}">{escape(text)}</p>'


def warnings(found: Iterable[tuple[str, str]]) -> list[str]:
    """What to mind, (what, warning) each: one line for each that is not empty."""
    return [paragraph(f"Mind at {what}: {warning}.", "warning") for what, warning in found if warning]


def bullets(lines: Iterable[str]) -> str:
    """A list of plain lines."""
    items = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>\n{items}\n</ul>"


def figure(svg: str, caption: str) -> str:
    """An inline SVG with its caption, which also names it to screen readers."""
    label = escape(caption, quote=True)
    drawn = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return f"<figure>\n{drawn}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], words: Collection[str] = ()) -> str:
    """A table of plain cells, which are escaped; the first column and those headed ``words`` are set left, the others right.

    What stands in a column of ``words`` is folded where it is too long for the page, after a slash if it has one.
    """

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f'<{tag} class="words">{escape(cell).replace("/", "/<wbr>")}</{tag}>'
            if name in words
            else f"<{tag}>{escape(cell)}</{tag}>"
            for name, cell in zip(header, row, strict=True)
        )

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="wide"><table>\n<thead><tr>{cells("th", header)}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def box(name: str, value: str, lines: Iterable[str]) -> str:
    """One figure of the headline: its name, its value in large, and what qualifies it."""
    below = "".join(f"<span>{escape(line)}</span>" for line in lines if line)
    return f"<div><span>{escape(name)}</span><b>{escape(value)}</b>{below}</div>"


def headline(boxes: Iterable[str]) -> str:
    """Boxes side by side."""
    return '<div class="headline">\n' + "\n".join(boxes) + "\n</div>"
