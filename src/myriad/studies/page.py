"""The bare parts of a page: cards, sections, tables, badges. Values given to it are already escaped."""

from collections.abc import Iterable, Sequence
from html import escape

Html = str

_CSS = """
:root{--ink:#1f2933;--muted:#6b7785;--line:#e4e8ed;--paper:#fff;--ground:#f5f7f9;--accent:#1b7f5c}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
 font:15px/1.5 Inter,"Segoe UI","Helvetica Neue",Arial,"DejaVu Sans",sans-serif}
main{max-width:1040px;margin:0 auto;padding:36px 24px 60px}
header h1{margin:0;font-size:28px;letter-spacing:-.01em}
header p{margin:4px 0 24px;color:var(--muted)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin-bottom:20px}
.card{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:14px 16px}
.card b{display:block;font-size:24px;font-weight:600;letter-spacing:-.01em;margin:2px 0}
.card span:not(.badge){color:var(--muted);font-size:12px;line-height:1.35;display:block}
.card .name{font-size:12px;font-weight:600;color:var(--ink)}
section{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:20px 24px;
 margin:0 0 20px}
h2{font-size:17px;margin:0 0 12px}
figure{margin:0 0 8px}
svg{width:100%;height:auto;display:block}
table{width:100%;border-collapse:collapse;font-size:13px;margin-top:10px}
th{font-weight:600;color:var(--muted);text-align:left;font-size:12px}
th,td{padding:5px 8px;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tfoot td{font-weight:600;border-bottom:0}
small{display:block;color:var(--muted)}
.note{color:var(--muted);font-size:13px;margin:10px 0 0}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;font-size:12px;color:var(--muted);margin:4px 0 6px}
.swatch{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:6px;border:1px solid #0001;
 vertical-align:-1px}
.badge{border-radius:9px;padding:1px 8px;font-size:11px;font-weight:600;white-space:nowrap;
 display:inline-block}
.good{background:#dcf1e8;color:#12634a}.bad{background:#fbe2df;color:#9c2b1f}
.est{background:#fdf1d3;color:#7d5a05}
ul{margin:0;padding-left:20px;font-size:13px}
.scroll{overflow-x:auto}
@media print{body{background:#fff}section,.card{break-inside:avoid}}
"""


def document(title: str, subtitle: str, parts: Iterable[Html]) -> Html:
    """A whole page. It loads nothing and runs nothing."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_CSS}</style></head><body><main>"
        f"<header><h1>{escape(title)}</h1><p>{escape(subtitle)}</p></header>{''.join(parts)}"
        "</main></body></html>\n"
    )


def cards(items: Sequence[tuple[str, str, Html]]) -> Html:
    """Name, figure, and a few words under it."""
    found = "".join(
        f'<div class="card"><span class="name">{escape(name)}</span><b>{escape(figure)}</b>'
        f"<span>{words}</span></div>"
        for name, figure, words in items
    )
    return f'<div class="cards">{found}</div>'


def section(title: str, body: Html) -> Html:
    """A titled box."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def figure(svg: str) -> Html:
    """A plot."""
    return f"<figure>{svg}</figure>"


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[Html]],
    foot: Iterable[Sequence[Html]] = (),
    *,
    numbers: Sequence[int] = (),
) -> Html:
    """A table; columns in `numbers` are set to the right."""

    def cells(row: Sequence[Html], tag: str) -> Html:
        return "".join(
            f"<{tag}{' class=n' if k in numbers else ''}>{cell}</{tag}>" for k, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    last = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in foot)
    headings = cells([escape(text) for text in head], "th")
    return (
        f'<div class="scroll"><table><thead><tr>{headings}</tr></thead><tbody>{body}</tbody>'
        f"<tfoot>{last}</tfoot></table></div>"
    )


def legend(items: Sequence[tuple[str, str]]) -> Html:
    """Names and colours."""
    return (
        '<div class="legend">' + "".join(f"<span>{swatch(c)}{escape(n)}</span>" for n, c in items) + "</div>"
    )


def swatch(colour: str) -> Html:
    """A small square of colour."""
    return f'<i class="swatch" style="background:{colour}"></i>'


def badge(text: str, kind: str) -> Html:
    """A word in a pill: good, bad or est."""
    return f'<span class="badge {kind}">{escape(text)}</span>'


def estimated(what: str) -> Html:
    """Marks a number that rests on an estimate, and says on which."""
    return f'<span class="badge est" title="{escape(what)}">estimated</span>' + small(what)


def note(text: str) -> Html:
    """A remark under a figure."""
    return f'<p class="note">{escape(text)}</p>'


def small(text: str) -> Html:
    """A remark in a cell."""
    return f"<small>{escape(text)}</small>" if text else ""
