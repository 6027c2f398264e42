"""Runs the pre-training command on another Keras backend: `KERAS_BACKEND=torch python command_worker.py FILE`.

FILE holds a JSON list of lists of arguments, which are run one after another.
"""

import json
import pathlib
import sys

from infoxlm_keras.commands import pretrain
from quick_runs import quick_runs


def main(path):
    for arguments in json.loads(pathlib.Path(path).read_text()):
        print(f"command {arguments}", flush=True)
        with quick_runs():
            pretrain.main(arguments)


if __name__ == "__main__":
    main(sys.argv[1])
