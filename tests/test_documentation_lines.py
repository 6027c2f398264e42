"""docs/paper.md leads to the right lines of the code."""

import subprocess
import sys

from repository import REPOSITORY


def check(page_script):
    """Exit code and standard error of `paper_lines.py --check`."""
    done = subprocess.run([sys.executable, page_script, "--check"], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_the_lines_of_the_paper_page_are_those_of_the_code():
    assert check(REPOSITORY / "docs" / "paper_lines.py") == (0, "")


def test_a_line_that_has_moved_and_a_name_that_is_gone_are_reported(tmp_path):
    (tmp_path / "infoxlm_keras").mkdir()
    (tmp_path / "docs").mkdir()
    script = tmp_path / "docs" / "paper_lines.py"
    script.write_text((REPOSITORY / "docs" / "paper_lines.py").read_text(encoding="utf-8"), encoding="utf-8")
    code = tmp_path / "infoxlm_keras" / "a.py"
    code.write_text("\n\nclass Queue:\n    def put(self):\n        pass\n", encoding="utf-8")
    page = tmp_path / "docs" / "paper.md"

    page.write_text("`infoxlm_keras/a.py:Queue.put` (line 4)\n", encoding="utf-8")
    assert check(script) == (0, "")

    code.write_text("\n" + code.read_text(encoding="utf-8"), encoding="utf-8")
    status, message = check(script)
    assert status == 1 and "lines have moved" in message

    page.write_text("`infoxlm_keras/a.py:Queue.get` (line 4)\n", encoding="utf-8")
    status, message = check(script)
    assert status == 1 and "defines no Queue.get" in message
