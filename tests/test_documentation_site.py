"""The site's pages from README.md and others: links that work in the repository work in the site."""

import importlib.util
import re

import pytest

from repository import REPOSITORY

DOCS = REPOSITORY / "docs"


@pytest.fixture(scope="module")
def hooks():
    """The module docs/site_hooks.py, which MkDocs imports by its path."""
    specification = importlib.util.spec_from_file_location("site_hooks", DOCS / "site_hooks.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_links_of_the_repository_become_links_of_the_site(hooks):
    text = """\
See [records](docs/records.md#reading-them), [the tasks](infoxlm_keras/tasks), [how to help](CONTRIBUTING.md),
[the licence](LICENSE), [the use](#use), [the paper](https://arxiv.org/abs/2007.07834).
![a plot](docs/images/training.png)
"""
    assert (
        hooks.for_site(text)
        == """\
See [records](records.md#reading-them), [the tasks](api/tasks.md), [how to help](contributing.md),
the licence, [the use](#use), [the paper](https://arxiv.org/abs/2007.07834).
![a plot](images/training.png)
"""
    )


def test_a_link_to_a_file_that_is_gone_ends_the_build(hooks):
    with pytest.raises(ValueError, match="data_prep/sample_corpus.*no such file"):
        hooks.for_site("the [corpus](data_prep/sample_corpus/README.md)")


@pytest.mark.parametrize("page", ["index.md", "contributing.md", "changelog.md"])
def test_included_pages_lead_to_files_that_exist(hooks, page):
    text = hooks.on_page_markdown((DOCS / page).read_text(encoding="utf-8"))
    addresses = re.findall(r"\]\(([^)#\s]+)", text)
    local = [address for address in addresses if not address.startswith("https://")]
    assert [address for address in local if not (DOCS / address).exists()] == []
    assert "{{" not in text and len(text) > 1000


def test_every_room_of_the_package_has_a_page_of_the_reference():
    rooms = {path.parent.name for path in (REPOSITORY / "infoxlm_keras").glob("*/__init__.py")}
    pages = {path.stem for path in (DOCS / "api").glob("*.md")}
    # Commands are described by --help, and configurations hold no code.
    assert rooms - pages == {"commands", "configs"}
    navigation = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page for page in pages if f"api/{page}.md" not in navigation] == []


def test_every_file_of_the_repository_that_a_page_names_exists():
    # In backticks, `tests/data/test_order.py`, `benchmarks/ablation.py --steps 10`, `docs/paper.md`.
    pattern = re.compile(r"`((?:tests|benchmarks|recipes|data_prep|docs|infoxlm_keras)/[\w/.-]+\.(?:py|md|yaml))\b")
    pages = [*DOCS.glob("*.md"), REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]
    named = {(page.name, path) for page in pages for path in pattern.findall(page.read_text(encoding="utf-8"))}
    assert len(named) > 30
    assert sorted(pair for pair in named if not (REPOSITORY / pair[1]).exists()) == []
