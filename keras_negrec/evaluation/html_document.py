"""A report in HTML, in one file."""

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
code { background: #f3f3f3; padding: 0 .2em; white-space: normal }
"""


class HTMLDocument:
    """Collects the parts of a page, as `MarkdownDocument`; pictures are inside it."""

    def __init__(self):
        self.parts: list[str] = []

    def text(self) -> str:
        return (
            "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
            f"<title>Comparison</title>\n<style>\n{_STYLE}</style></head>\n<body>\n"
            + "\n".join(self.parts)
            + "\n</body></html>\n"
        )

    def heading(self, level, text):
        self.parts.append(f"<h{level}>{html.escape(text)}</h{level}>")

    def paragraph(self, text):
        self.parts.append(f"<p>{_inline(text)}</p>")

    def bullets(self, texts):
        items = "\n".join(f"<li>{_inline(text)}</li>" for text in texts)
        self.parts.append(f"<ul>\n{items}\n</ul>")

    def figure(self, name, caption, picture):
        data = base64.b64encode(picture).decode()
        self.parts.append(
            f"<figure><img alt='{name}' src='data:image/png;base64,{data}'>"
            f"<figcaption>{_inline(caption)}</figcaption></figure>"
        )

    def table(self, head, rows):
        def line(cells, tag):
            return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

        lines = [line(head, "th"), *(line(row, "td") for row in rows)]
        self.parts.append("<table>\n" + "\n".join(lines) + "\n</table>")


def _inline(text: str) -> str:
    """Escaped, with every second piece between `**` in bold."""
    pieces = html.escape(text).split("**")
    return "".join(f"<b>{piece}</b>" if i % 2 else piece for i, piece in enumerate(pieces))
