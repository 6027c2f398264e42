"""A report as one HTML page that loads nothing: styles, data and the library of the charts stand in it.

The charts are drawn by Vega-Lite. The page follows the reader's light or dark setting and the width of the window. Its
content security policy forbids every request, so it may be opened from mail or without a network.
"""

import html
import json
from collections.abc import Sequence

from infoxlm_keras.errors import InputError
from infoxlm_keras.optional_library import import_library
from infoxlm_keras.reports.page.blocks import Chart, Section, Table, Text
from infoxlm_keras.reports.page.charts import PURPOSE, altair
from infoxlm_keras.reports.page.page_parts import POLICY, SCRIPT, STYLE


def html_report(title: str, sections: Sequence[Section]) -> str:
    """The report as a page of HTML, str.

    Args:
        title: str.
        sections: list of `Section`.

    Raises:
        InputError: if Altair or vl-convert, the extra `report`, are not installed.
    """
    altair()
    library = import_library("vl_convert", PURPOSE, extra="report").javascript_bundle("window.vegaEmbed = vegaEmbed;")
    specs: list[dict] = []
    body = "\n".join(_section(number, section, specs) for number, section in enumerate(sections))
    contents = "".join(
        f'<li><a href="#s{number}">{html.escape(section.title)}</a></li>' for number, section in enumerate(sections)
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>{html.escape(title)}</h1><nav><ul>{contents}</ul></nav></header>
<main>
{body}
</main>
<script>{_inside_script(library)}</script>
<script type="application/json" id="specs">{_json(specs)}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""


def page_problem() -> str:
    """Why a page cannot be written here: a library that is not installed, str; empty if it can."""
    try:
        altair()
        import_library("vl_convert", PURPOSE, extra="report")
    except InputError as error:
        return str(error)
    return ""


def _section(number, section, specs):
    parts = [f'<section id="s{number}"><h2>{html.escape(section.title)}</h2>']
    charts: list[str] = []
    for block in [*section.blocks, None]:
        if isinstance(block, Chart):
            title = html.escape(block.title)
            charts.append(
                f'<figure><figcaption>{title}</figcaption><div class="chart" role="img" aria-label="{title}" '
                f'data-chart="{len(specs)}"></div></figure>'
            )
            specs.append(block.draw())
            continue
        if charts:
            parts.append(f'<div class="charts">{"".join(charts)}</div>')
            charts = []
        if isinstance(block, Text):
            parts.append(f"<p>{html.escape(block.text)}</p>")
        elif isinstance(block, Table):
            parts.append(_table(block))
    return "\n".join([*parts, "</section>"])


def _table(table):
    def row(cells, tag):
        first, *rest = [html.escape(cell) for cell in cells]
        opening = '<th scope="col">' if tag == "th" else "<td>"
        head = (opening if tag == "th" else '<th scope="row">') + f"{first}</th>"
        return f"<tr>{head}{''.join(f'{opening}{cell}</{tag}>' for cell in rest)}</tr>"

    rows = "".join(row(cells, "td") for cells in table.rows)
    kind = "numbers" if table.numeric else "words"
    found = (
        f'<div class="table"><table class="{kind}"><thead>{row(table.columns, "th")}</thead><tbody>{rows}</tbody>'
        "</table></div>"
    )
    if table.folded:
        return f"<details><summary>{html.escape(table.title)}</summary>{found}</details>"
    return (f"<h3>{html.escape(table.title)}</h3>" if table.title else "") + found


def _json(value):
    """JSON that cannot end the element it stands in."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _inside_script(code):
    """JavaScript that cannot end the element it stands in: in its strings and patterns `<\\/` is `</`."""
    return code.replace("</script", "<\\/script").replace("<!--", "<\\!--")
