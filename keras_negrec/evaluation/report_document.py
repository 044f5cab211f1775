"""A report as Markdown and as one file of HTML."""

from __future__ import annotations

import base64
import html

_STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 70em; margin: 2em auto;
       padding: 0 1em }
table { border-collapse: collapse; margin: 1em 0; font-size: 14px; display: block;
        overflow-x: auto }
th, td { padding: .25em .7em; border-bottom: 1px solid #ddd; text-align: right;
         white-space: nowrap }
th { border-bottom: 2px solid #888 }
th:first-child, td:first-child { text-align: left }
figure { margin: 1.5em 0 }
figcaption { color: #555; font-size: 14px }
img { max-width: 100% }
"""


class ReportDocument:
    """Collects what a page holds; pictures lie beside the Markdown, and are inside the HTML.

    Attributes:
        markdown, html: lists of str, the same page in both languages.
    """

    def __init__(self):
        self.markdown: list[str] = []
        self.html: list[str] = []

    def _add(self, markdown: str, in_html: str) -> None:
        self.markdown.append(markdown)
        self.html.append(in_html)

    def markdown_text(self) -> str:
        return "\n\n".join(self.markdown) + "\n"

    def html_text(self) -> str:
        return (
            "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
            f"<title>Comparison</title>\n<style>\n{_STYLE}</style></head>\n<body>\n"
            + "\n".join(self.html)
            + "\n</body></html>\n"
        )

    def heading(self, level, text):
        self._add(f"{'#' * level} {text}", f"<h{level}>{html.escape(text)}</h{level}>")

    def paragraph(self, text):
        self._add(text, f"<p>{_inline(text)}</p>")

    def bullets(self, texts):
        texts = list(texts)
        items = "\n".join(f"<li>{_inline(text)}</li>" for text in texts)
        self._add("\n".join(f"- {text}" for text in texts), f"<ul>\n{items}\n</ul>")

    def figure(self, name, caption, picture):
        data = base64.b64encode(picture).decode()
        self._add(
            f"![{name}]({name}.png)\n\n{caption}",
            f"<figure><img alt='{name}' src='data:image/png;base64,{data}'>"
            f"<figcaption>{_inline(caption)}</figcaption></figure>",
        )

    def table(self, head, rows):
        escaped = [[cell.replace("|", "\\|") for cell in row] for row in [head, *rows]]
        lines = [f"| {' | '.join(row)} |" for row in escaped]
        lines.insert(1, "|---|" + "---:|" * (len(head) - 1))

        def line(cells, tag):
            return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

        in_html = "\n".join([line(head, "th"), *(line(row, "td") for row in rows)])
        self._add("\n".join(lines), f"<table>\n{in_html}\n</table>")


def _inline(text: str) -> str:
    """Escaped, with every second piece between `**` in bold."""
    pieces = html.escape(text).split("**")
    return "".join(f"<b>{piece}</b>" if i % 2 else piece for i, piece in enumerate(pieces))
