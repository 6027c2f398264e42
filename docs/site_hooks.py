"""What MkDocs does besides: README.md, CONTRIBUTING.md and CHANGELOG.md become pages of the site.

A page includes a file of the repository by the line `{{ README.md }}`. Links in such a file are written for the
repository, so they change: `docs/x.md` becomes the page `x.md`, a folder of the package becomes its page of the
reference, and a link to another file of the repository, which the site does not hold, becomes its text.
"""

import pathlib
import re

REPOSITORY = pathlib.Path(__file__).parents[1]
INCLUDE = re.compile(r"^\{\{ (\w+\.md) \}\}$", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")
IMAGE = re.compile(r"(!\[[^\]]*\]\()docs/")
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "README.md": "index.md"}


def site_link(match: re.Match[str]) -> str:
    """The Markdown link `match` (text, address) as it must stand on a page of the site."""
    text, address = match[1], match[2]
    if re.match(r"[a-z]+:|#", address):
        return match[0]
    path, _, anchor = address.partition("#")
    anchor = f"#{anchor}" if anchor else ""
    path = path.removeprefix("./")
    if path in PAGES:
        return f"[{text}]({PAGES[path]}{anchor})"
    if path.startswith("docs/"):
        return f"[{text}]({path.removeprefix('docs/')}{anchor})"
    parts = pathlib.PurePosixPath(path).parts
    if len(parts) > 1 and parts[0] == "infoxlm_keras":
        page = f"api/{parts[1]}.md"
        if (REPOSITORY / "docs" / page).exists():
            return f"[{text}]({page})"
    if not (REPOSITORY / path).exists():
        raise ValueError(f"[{text}]({address}): the repository has no such file")
    return text


def for_site(text: str) -> str:
    """`text`, Markdown written for the top of the repository, with links and images of the site."""
    return LINK.sub(site_link, IMAGE.sub(r"\1", text))


def on_page_markdown(markdown: str, **others) -> str:
    """MkDocs calls it with the text of each page."""
    return INCLUDE.sub(lambda found: for_site((REPOSITORY / found[1]).read_text(encoding="utf-8")), markdown)
