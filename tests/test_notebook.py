"""docs/notebook.ipynb runs from its first cell to its last."""

import os

import nbformat
import pytest
from nbclient import NotebookClient

from repository import REPOSITORY

NOTEBOOK = REPOSITORY / "docs" / "notebook.ipynb"


def text_of(cell):
    """What a cell printed, and the text of its value."""
    outputs = [output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "".join(outputs)


def test_the_notebook_has_five_cells_and_keeps_no_output():
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert len(cells) == 5
    assert cells[0].source.startswith("%pip install") and cells[0].metadata.tags == ["skip-execution"]
    # The package is on no index: pip gets the clone, which is one folder up from the notebook.
    target = cells[0].source.split()[2]
    assert (NOTEBOOK.parent / target / "setup.cfg").resolve() == REPOSITORY / "setup.cfg"
    assert not any(cell.outputs or cell.execution_count for cell in cells)


@pytest.mark.slow
def test_the_notebook_goes_from_text_to_vectors(tmp_path, monkeypatch):
    # The kernel is a process of its own: it must find this checkout, installed or not.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    # The cell that installs carries the tag by which nbclient leaves cells out.
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "step 40/40" in text_of(cells[2])
    assert text_of(cells[3]).endswith("(3, 128)")
    assert "Öffnen Sie die Datei" in text_of(cells[4])
