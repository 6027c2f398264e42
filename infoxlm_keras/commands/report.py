"""Writes a report on runs: one HTML page that needs nothing else, and the same as Markdown.

  infoxlm report runs/demo
  infoxlm report runs/seed_1 runs/seed_2 --output comparison.html

A RUN is the OUTPUT_DIR of infoxlm pretrain, infoxlm finetune-... or infoxlm demo, finished or in progress. Several
stand side by side. The report has the settings (those that differ first), losses and bounds, retrieval by layer and
language, scores and transfer gap of fine-tuned models, throughput, skipped steps, and digests and languages of the
data. It takes retrieval*.json in a run's folder; --evaluation adds other results of infoxlm evaluate-retrieval.

The page holds its charts, styles and data: it loads nothing, and follows the light or dark setting of the reader. It
needs the extra `report`; Markdown does not.
"""

import pathlib
import sys
from collections.abc import Sequence

from infoxlm_keras.command_line import argument_parser, print_settings
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import write_atomically
from infoxlm_keras.files.overwriting import refuse_overwriting
from infoxlm_keras.files.remote_arguments import with_local_paths

NAME = "report.html"


@with_local_paths(inputs=("", "evaluation"), outputs=("output",))
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argument_parser(__doc__ or "")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--evaluation",
        nargs="+",
        default=[],
        metavar="FILE",
        help="results of infoxlm evaluate-retrieval --output, FILE.json or RUN=FILE.json",
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        metavar="FILE",
        help=f"page (.html; Markdown is written beside it), or .md for Markdown only; unset: {NAME} in the one RUN",
    )
    options = parser.parse_args(arguments)
    if options.output is None:
        if len(options.runs) > 1:
            raise InputError("--output: say where the report on several runs is to be written, such as report.html")
        options.output = pathlib.Path(options.runs[0]) / NAME
    refuse_overwriting(vars(options), ["output"])
    print_settings("report", vars(options))
    for path in write_report(options.runs, options.output, options.evaluation):
        print(f"wrote {path} ({path.stat().st_size / 1e6:,.1f} MB)")


def write_report(
    runs: Sequence[str | pathlib.Path], output: pathlib.Path, evaluations: Sequence[str] = ()
) -> list[pathlib.Path]:
    """Writes the report on the folders `runs` to `output`.

    Args:
        runs: list of str or path.
        output: path that ends in .html, for the page and Markdown beside it, or in .md, for Markdown.
        evaluations: list of str, see `infoxlm_keras.reports.page.run_contents.read_runs`.

    Returns:
        list of path, the files written.

    Raises:
        InputError: if a run cannot be read, `output` has another ending or is a directory, or the extra `report` is
            not installed; nothing is written then.
    """
    from infoxlm_keras.reports.page.html import html_report
    from infoxlm_keras.reports.page.markdown import markdown_report
    from infoxlm_keras.reports.page.run_contents import read_runs
    from infoxlm_keras.reports.page.sections import report_sections

    if output.suffix not in (".html", ".md"):
        raise InputError(f"--output {output}: must end in .html or .md")
    files = [output] if output.suffix == ".md" else [output, output.with_suffix(".md")]
    for path in files:
        if path.is_dir():
            raise InputError(f"{path}: is a directory; give a file, for instance {path / NAME}")
    contents = read_runs(runs, evaluations)
    sections = report_sections(contents)
    title = "Report: " + ", ".join(run.label for run in contents)
    written = {output.with_suffix(".md"): markdown_report(title, sections)}
    if output.suffix == ".html":
        written[output] = html_report(title, sections)
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, written[path])
    sys.stdout.flush()
    return files
