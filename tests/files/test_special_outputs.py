"""An output that exists and is no regular file (a device, a FIFO) is written to, never replaced by a regular file."""

import os
import pathlib
import stat
import subprocess
import sys
import threading

import pytest

from infoxlm_keras.files import write_json
from infoxlm_keras.files.atomic import write_atomically
from infoxlm_keras.reports.history import HistoryFile
from infoxlm_keras.reports.plots.style import new_figure, save_figure

ROOT = pathlib.Path(__file__).parents[2]


def through_fifo(tmp_path, write):
    """What a reader of a FIFO gets from `write(path)`; the FIFO must still be one afterwards."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    received = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()), daemon=True)
    reader.start()
    write(path)
    assert stat.S_ISFIFO(os.lstat(path).st_mode)
    reader.join(timeout=20)
    return received[0]


def write_history(path):
    HistoryFile(path).write({"step": 1, "loss": 0.5})


@pytest.mark.parametrize(
    ("write", "beginning"),
    [
        (lambda path: write_atomically(path, "größer\n"), "größer\n".encode()),
        (lambda path: write_json(path, {"a": 1}), b'{\n "a": 1'),
        (lambda path: save_figure(new_figure(1, 1), path), b"\x89PNG\r\n"),
        (write_history, b"step,loss\n1,0.5\n"),
    ],
    ids=["text", "json", "figure", "history"],
)
def test_every_writer_writes_into_a_fifo(tmp_path, write, beginning):
    assert through_fifo(tmp_path, write).startswith(beginning)


def test_a_terminal_gets_the_text_and_stays_one():
    leader, follower = os.openpty()
    try:
        name = os.ttyname(follower)
        write_atomically(name, "text")
        assert stat.S_ISCHR(os.stat(name).st_mode)
        assert os.read(leader, 100) == b"text"
    finally:
        os.close(leader)
        os.close(follower)


def test_a_link_to_a_fifo_stays_a_link(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("fifo")
    assert through_fifo(tmp_path, lambda path: write_atomically(link, "text")) == b"text"
    assert link.is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_full_device_is_named_and_stays(tmp_path):
    full = tmp_path / "full"
    os.mknod(full, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
    try:
        open(full, "rb").close()
    except PermissionError:
        pytest.skip("devices do not work on this file system")
    with pytest.raises(OSError, match="No space left") as raised:
        write_atomically(full, "text")
    assert raised.value.filename == str(full)
    assert stat.S_ISCHR(os.stat(full).st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_keeps_what_was_printed_before_and_after(tmp_path, name):
    code = (
        "from infoxlm_keras.files.atomic import write_atomically\n"
        f"print('before'); write_atomically({name!r}, 'text\\n'); print('after')"
    )
    for output in (tmp_path / "file", None):
        with open(output, "wb") if output else open(os.devnull, "wb") as file:
            done = subprocess.run(
                [sys.executable, "-c", code],
                cwd=ROOT,
                stdout=file if output else subprocess.PIPE,
                check=True,
            )
        assert (output.read_bytes() if output else done.stdout) == b"before\ntext\nafter\n"


def test_a_link_to_a_file_stays_a_link(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]
