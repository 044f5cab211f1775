"""A report in Markdown."""

from __future__ import annotations


class MarkdownDocument:
    """Collects the parts of a page; pictures lie beside it as `name.png`."""

    def __init__(self):
        self.parts: list[str] = []

    def text(self) -> str:
        return "\n\n".join(self.parts) + "\n"

    def heading(self, level, text):
        self.parts.append(f"{'#' * level} {text}")

    def paragraph(self, text):
        self.parts.append(text)

    def bullets(self, texts):
        self.parts.append("\n".join(f"- {text}" for text in texts))

    def figure(self, name, caption, picture):
        self.parts.append(f"![{name}]({name}.png)\n\n{caption}")

    def table(self, head, rows):
        escaped = [[cell.replace("|", "\\|") for cell in row] for row in [head, *rows]]
        lines = [f"| {' | '.join(row)} |" for row in escaped]
        lines.insert(1, "|---|" + "---:|" * (len(head) - 1))
        self.parts.append("\n".join(lines))
