"""How fast text becomes records and records become batches, and in how much memory.

    python benchmarks/data_prep.py --output bench/                  # all parts, about 15 minutes on 2 idle cores
    python benchmarks/data_prep.py --output bench/ --parts build

  build    build_monolingual.py (2 processes, start of the processes included) without and with its cleaning, against
           the reference way, which cleans nothing: all lines in memory, one after another through Hugging Face's fast
           tokenizer on the same SentencePiece model, blocks shuffled in a list, written one by one with
           tf.train.Example (imports not counted). Same text, in alternation.
  memory   peak of the builder and its workers together at 1, 4 and 16 times the input, repeats removed, shuffled.
  reading  the three streams joined (read, parse, mask, mixup, batch; from the second batch on) against the training
           step of the `small` model on such batches (not compiled by XLA), in alternation.

Medians of --rounds. CPU seconds are those of all processes: on a busy machine they say more than wall time. The text
is the bundled corpus, or --text (a folder of <lang>.txt). Results go to OUTPUT/data_prep.json. Linux only (/proc).
"""

import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
import rich
import rich.box
import rich.table

from infoxlm_keras.command_line import argument_parser, print_settings, run_command
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json, write_json

ROOT = pathlib.Path(__file__).resolve().parent.parent
PARTS = ("build", "memory", "reading")
SCALES = (1, 4, 16)
BLOCK_LENGTH = 128
LENGTHS = ("16", "32", "64")
SAMPLE_SECONDS = 0.05


def main(arguments=None):
    parser = argument_parser(__doc__)
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for text, records and results")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    parser.add_argument("--text", metavar="DIR", help="folder of <lang>.txt instead of the bundled corpus")
    parser.add_argument("--tokenizer", help="instead of one of 16,000 pieces trained on the bundled corpus")
    parser.add_argument(
        "--megabytes", type=float, default=32, help="text of the build part, and of the smallest memory"
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way")
    parser.add_argument("--processes", type=int, default=2, help="of the builder")
    parser.add_argument("--reference", metavar="FOLDER", help="(internal) the reference way on this folder")
    options = parser.parse_args(arguments)
    if options.reference:
        reference(options)
        return
    print_settings("benchmarks/data_prep", {**vars(options), "load average": os.getloadavg()[0]})
    output = pathlib.Path(options.output).resolve()
    output.mkdir(parents=True, exist_ok=True)
    prepare(output, options)
    results = read_json(output / "data_prep.json") if (output / "data_prep.json").exists() else {}
    for part in options.parts:
        results[part] = {"build": measure_build, "memory": measure_memory, "reading": measure_reading}[part](
            output, options
        )
        write_json(output / "data_prep.json", results)


def prepare(output, options):
    """Unpacks the corpus and trains the tokenizer, unless they are there."""
    if not (output / "corpus").exists():
        run(["data_prep/unpack_sample_corpus.py", "--output_dir", output / "corpus"])
    options.text = options.text or output / "corpus/monolingual"
    if options.tokenizer is None:
        options.tokenizer = output / "tokenizer"
        if not options.tokenizer.exists():
            command = ["data_prep/train_tokenizer.py", "--input", output / "corpus/monolingual"]
            run([*command, "--vocabulary_size", 16000, "--output_dir", options.tokenizer])


def write_text(path, folder, megabytes):
    """Writes about `megabytes` of the text in `folder` to `path`, over and over with a number that makes it new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    limit, turn = megabytes * 1e6, 0
    with open(path, "wb") as file:
        while file.tell() < limit:
            for source in sorted(pathlib.Path(folder).glob("*.txt")):
                for line in source.read_bytes().splitlines(keepends=True):
                    file.write(b"%d " % turn + line if turn and line.strip() else line)
                    if file.tell() >= limit:
                        return
            turn += 1


def run(command):
    """Runs a command of the project: (wall seconds, CPU seconds, peak bytes, peak bytes with mapped files).

    Bytes are those of all its processes together.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    )
    peak = np.zeros(2)
    while process.poll() is None:
        peak = np.maximum(peak, np.sum([memory_of(pid) for pid in tree(process.pid)], axis=0))
        time.sleep(SAMPLE_SECONDS)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise InputError(f"{command[0]} ended with status {process.returncode}; its message is above")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, *peak.tolist()


def tree(pid):
    """A process and its descendants."""
    try:
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(descendant for child in children for descendant in tree(child))]


def memory_of(pid):
    """(bytes a process holds, and these with the pages of files mapped into it); zeros if it has ended.

    Pages that processes share are divided among them. The kernel drops a file's pages when memory is wanted.
    """
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0, 0
    sizes = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss")}
    return sizes.get("Pss_Anon:", 0) + sizes.get("Pss_Shmem:", 0), sizes.get("Pss:", 0)


def builder_command(options, text, records, *flags):
    command = ["data_prep/build_monolingual.py", "--input", text, "--tokenizer", options.tokenizer]
    command += ["--output_dir", records, "--sequence_length", BLOCK_LENGTH, "--processes", options.processes]
    return [*command, "--overwrite", *flags]


def tokens_in(records):
    return sum(stream["tokens"] for stream in read_json(records / "mmlm/manifest.json")["streams"])


def measure_build(output, options):
    """Times the builder and the reference way in alternation."""
    write_text(output / "build/en.txt", options.text, options.megabytes)
    ours, cleaned, theirs = [], [], []
    for _ in range(options.rounds):
        ours.append(run(builder_command(options, output / "build", output / "build/ours", "--no_clean"))[:3])
        cleaned.append(run(builder_command(options, output / "build", output / "build/cleaned"))[:3])
        command = ["benchmarks/data_prep.py", "--output", output, "--tokenizer", options.tokenizer]
        *_, peak, _ = run([*command, "--reference", output / "build"])
        measured = read_json(output / "build/reference.json")
        theirs.append((measured["wall"], measured["cpu"], peak))
    tokens = tokens_in(output / "build/ours")
    table = new_table("text to records", "way", "tokens", "wall s", "tokens/s", "CPU s", "peak MB")
    result = {"tokens": tokens, "reference tokens": measured["tokens"], "megabytes": options.megabytes}
    counts = {"infoxlm_keras": tokens, "with cleaning": tokens_in(output / "build/cleaned")}
    for name, rows in (("infoxlm_keras", ours), ("with cleaning", cleaned), ("reference", theirs)):
        wall, cpu, peak = map(statistics.median, zip(*rows, strict=True))
        count = counts.get(name, measured["tokens"])
        result[name] = {"wall": wall, "cpu": cpu, "peak": peak, "tokens/s": count / wall, "rounds": rows}
        table.add_row(name, f"{count:,}", f"{wall:.2f}", f"{count / wall:,.0f}", f"{cpu:.2f}", f"{peak / 1e6:,.0f}")
    rich.print(table)
    result["times"] = result["infoxlm_keras"]["tokens/s"] / result["reference"]["tokens/s"]
    result["times in CPU"] = result["reference"]["cpu"] / result["infoxlm_keras"]["cpu"]
    print(f"{result['times']:.1f} times the reference way; {result['times in CPU']:.1f} times for the same CPU time")
    return result


def measure_memory(output, options):
    """The builder's peak at growing sizes of the input."""
    columns = ("input MB", "tokens", "wall s", "CPU s", "peak MB", "with mapped files")
    table = new_table("memory of the builder and its workers", *columns)
    rows = []
    for scale in SCALES:
        write_text(output / "memory/en.txt", options.text, scale * options.megabytes)
        # Shards so small that there are several at the smallest input too.
        flags = ("--deduplicate", "--shard_megabytes", 4)
        wall, cpu, peak, mapped = run(builder_command(options, output / "memory", output / "memory/records", *flags))
        tokens, megabytes = tokens_in(output / "memory/records"), scale * options.megabytes
        rows.append(
            {"megabytes": megabytes, "tokens": tokens, "wall": wall, "cpu": cpu, "peak": peak, "mapped": mapped}
        )
        sizes = [f"{megabytes:,.0f}", f"{tokens:,}", f"{wall:.1f}", f"{cpu:.1f}"]
        table.add_row(*sizes, f"{peak / 1e6:,.0f}", f"{mapped / 1e6:,.0f}")
    rich.print(table)
    return rows


def reference(options):
    """All lines in memory, one by one through Hugging Face's tokenizer; writes wall and CPU seconds and tokens."""
    import random

    import tensorflow as tf
    import transformers

    from infoxlm_keras.conversion.tokenizers import load_tokenizer

    folder = pathlib.Path(options.reference)
    tokenizer = hugging_face_tokenizer(transformers, load_tokenizer(options.tokenizer))
    (folder / "reference").mkdir(exist_ok=True)
    start, cpu = time.perf_counter(), time.process_time()
    with open(folder / "en.txt", encoding="utf-8") as file:
        lines = [line.strip() for line in file.read().split("\n")]
    blocks, block = [], [0]
    for line in lines:
        if not line:
            continue
        sentence = tokenizer(line, add_special_tokens=False)["input_ids"]
        for first in range(0, len(sentence), BLOCK_LENGTH - 2):
            piece = sentence[first : first + BLOCK_LENGTH - 2]
            if len(block) + len(piece) + 1 > BLOCK_LENGTH:
                blocks.append(block)
                block = [0]
            block += [*piece, 2]
    blocks.append(block)
    random.Random(0).shuffle(blocks)
    with tf.io.TFRecordWriter(str(folder / "reference/en.tfrecord")) as writer:
        for block in blocks:
            feature = tf.train.Feature(int64_list=tf.train.Int64List(value=block))
            example = tf.train.Example(features=tf.train.Features(feature={"token_ids": feature}))
            writer.write(example.SerializeToString())
    measured = {"wall": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    write_json(folder / "reference.json", {**measured, "tokens": sum(map(len, blocks))})


def hugging_face_tokenizer(transformers, tokenizer):
    """The fast `XLMRobertaTokenizer` of a `Tokenizer`'s SentencePiece model."""
    model = tokenizer.processor
    pieces = [(model.id_to_piece(piece), model.get_score(piece)) for piece in range(3, model.get_piece_size())]
    special = [(name, 0.0) for name in ("<s>", "<pad>", "</s>", "<unk>")]
    # The message compiled for SentencePiece's file wants a newer protobuf than TensorFlow has: two fields are enough.
    normalizer = message_field(tokenizer.proto, 3)
    return transformers.XLMRobertaTokenizer(
        vocab=[*special, *pieces, ("<mask>", 0.0)], _spm_precompiled_charsmap=message_field(normalizer, 2)
    )


def message_field(data, number):
    """The bytes of the last length-delimited field `number` in the protocol-buffer message `data`."""
    place, found = 0, b""

    def varint():
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while place < len(data):
        field, kind = divmod(varint(), 8)
        if kind == 0:
            varint()
            continue
        size = varint() if kind == 2 else {1: 8, 5: 4}[kind]
        if field == number:
            found = data[place : place + size]
        place += size
    return found


def measure_reading(output, options):
    """Tokens a second of the three streams, and of the `small` model's training step on such batches."""
    records = output / "records"
    if not records.exists():
        monolingual = builder_command(options, output / "corpus/monolingual", records)
        run(monolingual)
        bitext = ["data_prep/build_bitext.py", "--input", output / "corpus/bitext", "--tokenizer", options.tokenizer]
        run([*bitext, "--output_dir", records, "--max_length", LENGTHS[-1], "--lengths", *LENGTHS])

    from infoxlm_keras.config import load_config
    from infoxlm_keras.conversion.tokenizers import load_tokenizer
    from infoxlm_keras.data.streams import joined_dataset
    from infoxlm_keras.models import ENCODER_SIZES, build_masked_lm
    from infoxlm_keras.runs.assemble import build_pretrainer
    from infoxlm_keras.runs.training_records import TrainingRecords

    size, tokenizer = ENCODER_SIZES["small"], load_tokenizer(options.tokenizer)
    config = ROOT / "recipes/configs/small.yaml"
    # An eighth of the configuration's batches: a step of seconds, whose tokens a second are those of a whole one.
    eighth = ["mmlm.batch_size=8", "tlm.batch_size=8", "xlco.batch_size=32", "jit_compile=false"]
    streams = TrainingRecords(records, load_config(config, [])).streams()
    small_streams = TrainingRecords(records, load_config(config, eighth)).streams()
    batches = list(joined_dataset(small_streams).take(3).as_numpy_iterator())
    pretrainer = build_pretrainer(load_config(config, eighth), build_masked_lm(size, tokenizer.vocabulary_size))
    fit(pretrainer, batches)
    read, trained = [], []
    for turn in range(options.rounds):
        batches_read = joined_dataset(streams, 1000 * turn).take(301).as_numpy_iterator()
        next(batches_read)
        start, cpu = time.perf_counter(), time.process_time()
        tokens = sum(map(count_tokens, batches_read))
        read.append((tokens / (time.perf_counter() - start), tokens / (time.process_time() - cpu)))
        start, cpu = time.perf_counter(), time.process_time()
        fit(pretrainer, batches)
        tokens = sum(map(count_tokens, batches))
        trained.append((tokens / (time.perf_counter() - start), tokens / (time.process_time() - cpu)))
    table = new_table("records to batches", "what", "tokens/s", "tokens per CPU s")
    result = {}
    for name, rows in (("reading", read), ("training step", trained)):
        wall, cpu = map(statistics.median, zip(*rows, strict=True))
        result[name] = {"tokens/s": wall, "tokens per CPU s": cpu, "rounds": rows}
        table.add_row(name, f"{wall:,.0f}", f"{cpu:,.0f}")
    rich.print(table)
    result["times"] = result["reading"]["tokens/s"] / result["training step"]["tokens/s"]
    print(f"reading is {result['times']:.0f} times as fast as the training step")
    return result


def fit(pretrainer, batches):
    pretrainer.fit(((batch,) for batch in batches), steps_per_epoch=len(batches), epochs=1, verbose=0, shuffle=False)


def count_tokens(batch):
    """Tokens of a joined batch that are not padding."""
    masks = (value for part in batch.values() for name, value in part.items() if name.endswith("padding_mask"))
    return int(sum(mask.sum() for mask in masks))


def new_table(title, *columns):
    table = rich.table.Table(title=title, box=rich.box.SIMPLE)
    for column in columns:
        table.add_column(column, justify="left" if column in ("way", "what") else "right")
    return table


if __name__ == "__main__":
    run_command(main)
