"""Finds sentences by meaning, in any language, with a SavedModel alone (no Keras, no preset).

    infoxlm search index --model runs/demo/serving --input sentences.txt --output_dir runs/index
    infoxlm search query --index runs/index --text "How do I open a file?" --text "Wie drucke ich?"

index reads a UTF-8 text file (.gz, .xz, .bz2, .zst; - is standard input) line by line. Memory holds only the vectors
(float16: 2 bytes a dimension), so the file may be of any size. index copies the sentences to OUTPUT_DIR; query reads
them there. index leaves out empty lines. query compares the index with its checksums before it opens it.
query prints the nearest sentences with their cosine and line, and writes --output FILE.json. If the model has prompts,
sentences are indexed with that of documents, and queries take that of queries.

The index is usearch's HNSW graph (approximate; --exact compares with every vector): pip install infoxlm_keras[search].
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.command_line import argument_parser, print_settings, show_table
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import Contents, local_copy, new_directory, staging, write_json
from infoxlm_keras.files.remote_arguments import with_local_paths
from infoxlm_keras.progress import progress_bar

if TYPE_CHECKING:
    from infoxlm_keras.search.embedder import SavedModelEmbedder

VECTOR_TYPES = {"float16": "f16", "float32": "f32", "int8": "i8"}


@with_local_paths(inputs=("model", "input", "index", "file"), outputs=("output_dir", "output"))
def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    {"index": index, "query": query}[options.command](options)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argument_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="index|query")
    index = commands.add_parser("index", help="build an index", formatter_class=parser.formatter_class)
    index.add_argument("--model", required=True, type=pathlib.Path, help="SavedModel: a version, or home of versions")
    index.add_argument(
        "--input", required=True, type=pathlib.Path, metavar="FILE", help="text file with one sentence per line"
    )
    index.add_argument("--output_dir", required=True, type=pathlib.Path, help="folder for the index")
    index.add_argument("--vectors", choices=VECTOR_TYPES, default="float16", help="dtype of the stored vectors")
    index.add_argument("--batch_size", type=int, default=64, help="sentences per forward pass")
    index.add_argument("--overwrite", action="store_true", help="replace the index in OUTPUT_DIR")
    query = commands.add_parser("query", help="search an index", formatter_class=parser.formatter_class)
    query.add_argument(
        "--index", required=True, type=pathlib.Path, metavar="DIR", help="folder that `infoxlm search index` wrote"
    )
    query.add_argument("--model", type=pathlib.Path, help="SavedModel; unset: the one it was built with")
    query.add_argument("--text", action="append", metavar="TEXT", help="a query; may be repeated")
    query.add_argument("--file", type=pathlib.Path, metavar="FILE", help="file with one query per line")
    query.add_argument("--top_k", type=int, default=5, metavar="K", help="number of sentences to return per query")
    query.add_argument("--batch_size", type=int, default=64, help="queries per forward pass")
    query.add_argument("--exact", action="store_true", help="compare with every vector")
    query.add_argument("--output", type=pathlib.Path, metavar="FILE.json", help="file for the results")
    return parser.parse_args(arguments)


def index(options: argparse.Namespace) -> None:
    """Builds the index: complete, or not at all."""
    from infoxlm_keras.search.index import DATA_FILES, FACTS_FILE, IndexWriter
    from infoxlm_keras.search.sentences import input_size, read_sentences

    if options.batch_size < 1:
        raise InputError(f"--batch_size {options.batch_size}: must be at least 1")
    total = input_size(options.input)
    inputs = [options.input, options.model]
    contents = Contents((FACTS_FILE,), (FACTS_FILE, *DATA_FILES))
    with new_directory(options.output_dir, options.overwrite, contents=contents, inputs=inputs) as directory:
        embedder = load_embedder(options.model)
        print_settings("search index", {**vars(options), "model": embedder.directory, "dim": embedder.dim})
        with IndexWriter(directory, embedder, VECTOR_TYPES[options.vectors]) as writer:
            with progress_bar("Indexing", total, "sentences") as advance:
                for sentences, read in read_sentences(options.input, options.batch_size):
                    writer.add(sentences)
                    advance(read, len(sentences))
            facts = writer.close(str(options.input))
        size = sum(path.stat().st_size for path in directory.iterdir())
    print_table("index", {**facts, "size on disk": f"{size / 1e6:.1f} MB"})
    print(f"wrote {options.output_dir}")


def query(options: argparse.Namespace) -> None:
    """Prints the nearest sentences of each query."""
    from rich.table import Table

    from infoxlm_keras.pretrained.prompts import QUERY
    from infoxlm_keras.search.index import IndexReader
    from infoxlm_keras.search.sentences import read_queries

    if options.top_k < 1:
        raise InputError(f"--top_k {options.top_k}: must be at least 1")
    if options.batch_size < 1:
        raise InputError(f"--batch_size {options.batch_size}: must be at least 1")
    texts = read_queries(options.text, options.file)
    reader = IndexReader(options.index)
    embedder = load_embedder(options.model or local_copy(reader.facts["model"]))
    reader.check(embedder)
    sentences = reader.facts["sentences"]
    print_settings("search query", {**vars(options), "model": embedder.directory, "sentences": sentences})
    results = []
    with progress_bar("Searching", len(texts), "queries") as advance:
        for start in range(0, len(texts), options.batch_size):
            batch = texts[start : start + options.batch_size]
            results += reader.search(batch, embedder(batch, QUERY), options.top_k, options.exact)
            advance(len(batch), len(batch))
    for result in results:
        table = Table("cosine", "line", "sentence", title=result["query"], title_justify="left")
        for hit in result["hits"]:
            table.add_row(f"{hit['cosine']:.4f}", str(hit["line"]), hit["sentence"])
        show_table(table)
    if options.output is not None:
        write_json(options.output, {"index": staging.named(str(options.index)), "results": results})
        print(f"wrote {options.output}")


def load_embedder(directory: PathLike) -> SavedModelEmbedder:
    """The `SavedModelEmbedder` in a directory, without the messages of TensorFlow's import."""
    from infoxlm_keras.command_line import quiet_imports

    with quiet_imports():
        from infoxlm_keras.search.embedder import SavedModelEmbedder
    return SavedModelEmbedder(directory)


def print_table(title: str, values: Mapping[str, Any]) -> None:
    from rich.table import Table

    table = Table("", title, show_header=False)
    for name, value in values.items():
        table.add_row(name, str(value))
    show_table(table)
