"""Two processes of one run, started by `ForkingCommands`; they write `process_0.log` and `process_1.log`."""

import time

# Starting takes most of the time; it is long on a busy machine.
SECONDS = 900


def printed(root, index):
    """What process `index` has printed, str."""
    return (root / f"process_{index}.log").read_text()


def finish(commands, root, processes):
    """Waits for both, which must end well."""
    codes = [commands.wait(process) for process in processes]
    assert codes == [0, 0], "".join(printed(root, index)[-3000:] for index in range(2))


def wait_for(path, root):
    """Waits until the directory `path` is there."""
    deadline = time.monotonic() + SECONDS
    while not path.is_dir():
        assert time.monotonic() < deadline, f"{path} is not there: " + printed(root, 0)[-3000:]
        time.sleep(0.05)
