"""The blocks a report is made of, as Markdown and as HTML. All text comes out as it is."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

HTML_HEAD = """\
<!DOCTYPE html>
<html lang='en'><head><meta charset='utf-8'/><title>Comparison</title>
<meta name='viewport' content='width=device-width'/>
<style>
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }
h1, h2, p, li { overflow-wrap: anywhere }
h2 { margin-top: 2em }
li { margin: .3em 0 }
ul { padding-left: 1.2em }
div { overflow-x: auto }
table { border-collapse: collapse; font-size: 14px; line-height: 1.35;
  font-variant-numeric: tabular-nums }
th, td { padding: .35em .6em; border-bottom: 1px solid #8886; text-align: right;
  vertical-align: top }
th { vertical-align: bottom }
.text { text-align: left; overflow-wrap: anywhere; min-width: 6.5em }
th:first-child, td:first-child { padding-left: 0 }
img { max-width: 100%; background: white }
</style></head>
<body>"""


class Bold(str):
    """A piece of text in bold."""


Text = str | Sequence[str]  # as it is, or pieces of which some are `Bold`


@dataclass(frozen=True)
class Heading:
    text: Text
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    text: Text


@dataclass(frozen=True)
class Bullets:
    items: Sequence[Text]


@dataclass(frozen=True)
class Table:
    """A DataFrame of strings, its first `num_text` columns aligned to the left."""

    frame: pd.DataFrame
    num_text: int = 1


@dataclass(frozen=True)
class Image:
    """A PNG, beside the Markdown and within the HTML."""

    path: Path


Block = Heading | Paragraph | Bullets | Table | Image


def to_markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_markdown(text)}"
        case Paragraph(text):
            return _markdown(text)
        case Bullets(items):
            return "\n".join(f"- {_markdown(item)}" for item in items)
        case Image(path):
            return f"![{path.stem}]({path.name})"
    rows = [f"| {' | '.join(map(_markdown, row))} |" for row in _rows(block.frame)]
    num_columns = block.frame.shape[1]
    rows.insert(1, "|" + "---|" * block.num_text + "---:|" * (num_columns - block.num_text))
    return "\n".join(rows)


def to_html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_html(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{_html(text)}</p>"
        case Bullets(items):
            return "<ul>" + "\n".join(f"<li>{_html(item)}</li>" for item in items) + "</ul>"
        case Image(path):
            data = base64.b64encode(path.read_bytes()).decode()
            return f"<img alt='{path.stem}' src='data:image/png;base64,{data}'/>"
    lines = []
    for i, row in enumerate(_rows(block.frame)):
        tag, left = "td" if i else "th", block.num_text
        cells = [f"<{tag} class='text'>{_html(cell)}</{tag}>" for cell in row[:left]]
        cells += [f"<{tag}>{_html(cell)}</{tag}>" for cell in row[left:]]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "<div><table>" + "\n".join(lines) + "</table></div>"


def _rows(frame: pd.DataFrame) -> list[list[str]]:
    return [list(frame.columns), *frame.to_numpy().tolist()]


def _markdown(text: Text) -> str:
    return _render(text, lambda part: re.sub(r"([\\`*_\[\]<>#|~&$])", r"\\\1", part), "**", "**")


def _html(text: Text) -> str:
    return _render(text, html.escape, "<b>", "</b>")


def _render(text: Text, escape: Callable[[str], str], start: str, end: str) -> str:
    parts = []
    for piece in [text] if isinstance(text, str) else text:
        is_bold = isinstance(piece, Bold)
        lines = (piece.strip() if is_bold else piece).splitlines()
        part = "<br/>".join(map(escape, lines))
        parts.append(f"{start}{part}{end}" if is_bold else part)
    return "".join(parts)
