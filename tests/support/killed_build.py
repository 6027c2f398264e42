"""Runs a builder with tiny chunks and runs, and kills the process (SIGKILL) at a chosen piece of work.

    python tests/support/killed_build.py monolingual|bitext COUNT before|after BUILDER_ARGUMENTS...

COUNT pieces of work are noted in the journal, then the process dies: just before the line of the last one is written,
or just after it. COUNT 0 runs to the end.
"""

import os
import signal
import sys

from infoxlm_keras.building import journal as build_journal
from infoxlm_keras.building import spills
from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands import build_bitext, build_monolingual
from infoxlm_keras.text.readers import chunks

CHUNK_BYTES, RUN_BYTES = 300, 1500
BUILDERS = {"monolingual": build_monolingual, "bitext": build_bitext}


def kill_at(count, before):
    note = build_journal.BuildJournal.note
    noted = []

    def note_or_die(self, *key, value):
        noted.append(key)
        if before and len(noted) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        note(self, *key, value=value)
        if len(noted) == count:
            os.kill(os.getpid(), signal.SIGKILL)

    build_journal.BuildJournal.note = note_or_die


if __name__ == "__main__":
    builder, count, moment, *arguments = sys.argv[1:]
    chunks.CHUNK_BYTES, spills.RUN_BYTES = CHUNK_BYTES, RUN_BYTES
    kill_at(int(count), moment == "before")
    run_command(lambda: BUILDERS[builder].main(arguments))
