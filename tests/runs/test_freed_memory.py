"""Freed memory goes back to the system, after ever longer pauses."""

import ctypes
import pathlib
import threading

import pytest

from infoxlm_keras.runs.callbacks import freed_memory
from infoxlm_keras.runs.callbacks.freed_memory import FreedMemory, return_free_memory


def resident_bytes():
    return 4096 * int(pathlib.Path("/proc/self/statm").read_text().split()[1])


def test_it_is_given_back_at_powers_of_two(monkeypatch):
    calls = []
    callback = FreedMemory(100)
    monkeypatch.setattr(freed_memory, "return_free_memory", lambda: calls.append(callback.step))
    for batch in range(20):
        callback.on_train_batch_end(batch)
    assert calls == [101, 102, 104, 108, 116]


def test_steps_that_run_together_count_as_many(monkeypatch):
    calls = []
    callback = FreedMemory(0)
    monkeypatch.setattr(freed_memory, "return_free_memory", lambda: calls.append(callback.step))
    for batch in range(9, 100, 10):
        callback.on_train_batch_end(batch)
    assert calls == [10, 20, 40, 80]


def test_small_blocks_that_are_free_leave_the_process():
    """The last block stays in use, so the C library does not shrink the heap by itself."""
    library = ctypes.CDLL("libc.so.6")
    library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [library.malloc(1 << 14) for _ in range(8192)]
    for block in blocks:
        ctypes.memset(block, 1, 1 << 14)
    for block in blocks[:-1]:
        library.free(block)
    before = resident_bytes()
    return_free_memory()
    assert before - resident_bytes() > 50e6
    library.free(blocks[-1])


def test_memory_goes_back_while_the_first_step_is_compiled(monkeypatch):
    calls, again = [], threading.Event()

    def note():
        calls.append(threading.current_thread())
        again.set()

    monkeypatch.setattr(freed_memory, "return_free_memory", note)
    monkeypatch.setattr(freed_memory, "PAUSE", 0.01)
    callback = FreedMemory(100)
    callback.on_train_begin()
    assert again.wait(60)
    helper = calls[0]
    assert helper is not threading.main_thread()
    # A device may still work on the first step.
    callback.on_train_batch_end(0)
    again.clear()
    assert again.wait(60) and helper.is_alive()
    callback.on_train_batch_end(1)
    helper.join(60)
    assert not helper.is_alive()


@pytest.mark.parametrize("ends", ["training ends", "the longest time is over"])
def test_no_thread_stays_behind(monkeypatch, ends):
    monkeypatch.setattr(freed_memory, "return_free_memory", lambda: None)
    monkeypatch.setattr(freed_memory, "PAUSE", 60 if ends == "training ends" else 0.001)
    monkeypatch.setattr(freed_memory, "MOST", 3)
    callback = FreedMemory(0)
    callback.on_train_begin()
    started = [thread for thread in threading.enumerate() if thread.name == "freed memory"]
    assert len(started) == 1
    if ends == "training ends":
        callback.on_train_end()
    for thread in started:
        thread.join(60)
        assert not thread.is_alive()
