"""Where the memory of a training process goes: resident gigabytes after each part of its life; one line of JSON.

    python benchmarks/process_memory.py --backend jax --size small --steps 5

Takes the options of `train_step.py` and makes its step. "keras", "library" (with what it imports) and "made" (model,
key encoder, queue, batches) are resident memory. Of each step "peaks" has the most that was resident since the step
before, and "between_steps" what is resident after it, once free memory was given back to the system. Linux only.
"""

import json
import pathlib

import train_step


def main(arguments=None):
    options = train_step.parse(arguments, __doc__)
    found = {"backend": options.backend, "size": options.size, "shape": options.shape, "dtype": options.dtype}
    import keras

    found["keras"] = gigabytes("VmRSS")
    from infoxlm_keras import MMLM, InfoXLMPretrainer  # noqa: F401
    from infoxlm_keras.runs.callbacks.freed_memory import return_free_memory

    found["library"] = gigabytes("VmRSS")
    pretrainer, batch = train_step.made(options)
    found["made"] = gigabytes("VmRSS")
    found["peaks"], found["between_steps"] = [], []

    class Memory(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            # Reading a value waits for the device.
            float(logs["loss"])
            found["peaks"].append(gigabytes("VmHWM"))
            return_free_memory()
            found["between_steps"].append(gigabytes("VmRSS"))
            forget_peak()

    forget_peak()
    pretrainer.fit(
        ((batch,) for _ in range(options.steps)),
        steps_per_epoch=options.steps,
        verbose=0,
        shuffle=False,
        callbacks=[Memory()],
    )
    print(json.dumps(found))


def gigabytes(name):
    """A field of /proc/self/status: VmRSS is resident memory, VmHWM its peak."""
    line = next(line for line in pathlib.Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return round(int(line.split()[1]) * 1024 / 1e9, 2)


def forget_peak():
    """The peak begins anew."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    train_step.host_memory.restart_with_large_pages(__file__)
    main()
