"""The report of runs as one HTML page and as Markdown.

run_contents.py  what the directory of a run holds, read and checked
blocks.py        the parts of a report: sections of texts, tables and charts
sections.py      which sections a report has; settings, training, data
measurements.py  the sections of retrieval and of fine-tuning
charts.py        interactive charts, as Vega-Lite specifications
markdown.py      sections as Markdown
html.py          sections as one page that loads nothing
"""
