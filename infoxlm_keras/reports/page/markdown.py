"""A report as Markdown: its texts and tables."""

import re
from collections.abc import Sequence

from infoxlm_keras.reports.page.blocks import Section, Table, Text


def markdown_report(title: str, sections: Sequence[Section]) -> str:
    """The report as GitHub's Markdown, str; charts are left out, since the tables have their numbers.

    Args:
        title: str.
        sections: list of `Section`.
    """
    parts = [f"# {_escaped(title)}"]
    for section in sections:
        parts.append(f"## {_escaped(section.title)}")
        for block in section.blocks:
            if isinstance(block, Text):
                parts.append(_escaped(block.text))
            elif isinstance(block, Table):
                if block.title:
                    parts.append(f"### {_escaped(block.title)}")
                parts.append(_table(block))
    return "\n\n".join(parts) + "\n"


def _table(table):
    rule = ["---:" if table.numeric and number else "---" for number in range(len(table.columns))]
    lines = [[_escaped(cell) for cell in table.columns], rule]
    lines += [[_escaped(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text):
    """`text` on one line, with what Markdown would take for markup as plain characters."""
    return re.sub(r"([\\`*_\[\]<>|~#])", r"\\\1", re.sub(r"\s+", " ", text).strip())
