"""Makes prepared records a data set of TensorFlow Datasets, where they are: nothing is copied.

    infoxlm write-tfds-metadata --data_dir data/

writes small JSON files beside the shards of every language and pair below DIR/mmlm and DIR/bitext. Then

    tfds.load("mmlm/de", data_dir="data/", split="de")
    tfds.load("bitext/en-de", data_dir="data/", split="length-016")        # or split="all"
    tfds.builder_from_directory("data/bitext/en-de").as_dataset(split="length-016")

give the token ids. Building the records again (--overwrite) removes the files. Needs
`pip install "infoxlm_keras[tfds]"`.
"""

import pathlib
from collections.abc import Sequence

import rich
import rich.box
import rich.table

from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports, show_table
from infoxlm_keras.errors import InputError
from infoxlm_keras.records.manifest import BUILDERS, FILE_NAME, read_manifest
from infoxlm_keras.records.tfds_metadata import import_tfds, write_tfds_metadata


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--data_dir", required=True, metavar="DIR", help="the --output_dir of the builders")
    options = parser.parse_args(arguments)
    print_settings("write_tfds_metadata", vars(options))
    kinds = [kind for kind in BUILDERS if (pathlib.Path(options.data_dir) / kind / FILE_NAME).is_file()]
    if not kinds:
        raise InputError(f"{options.data_dir}: holds no records; make some with {' or '.join(BUILDERS.values())}")
    with quiet_imports():
        import_tfds()
    table = rich.table.Table(box=rich.box.SIMPLE)
    for heading in ("data set", "splits"):
        table.add_column(heading)
    for kind in kinds:
        for name, splits in write_tfds_metadata(read_manifest(options.data_dir, kind)).items():
            table.add_row(f"{kind}/{name}", " ".join(splits))
    show_table(table)
    print(f'open them with tfds.load("DATA SET", data_dir="{options.data_dir}", split="SPLIT")')
