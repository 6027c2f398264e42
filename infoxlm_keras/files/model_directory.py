"""The local directory of a model's files, wherever they are: here, in a store, or on Hugging Face's hub."""

import pathlib

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import hub, storage
from infoxlm_keras.files.staging import local_copy


def model_directory(source: PathLike) -> pathlib.Path | None:
    """The directory that holds the files of `source`, which are fetched first if they are not on this machine.

    Args:
        source: str or path. A directory, the address of a directory in a store (`gs://`, `s3://`), or a Hugging Face
            repository (`hf://org/name` or `org/name`, `@revision` may follow).

    Returns:
        path; None if there is no such directory and the name is neither an address nor a repository's. KerasHub may
        know it.

    Raises:
        InputError: if it is a file, or the files cannot be fetched.

    Example:
    ```python
    model_directory("runs/demo/model")  # PosixPath("runs/demo/model")
    model_directory("gs://bucket/model")  # a copy, which lasts as long as the process
    ```
    """
    path = local_copy(source) if storage.is_remote(source) else pathlib.Path(source)
    if path.is_dir():
        return path
    if path.is_file():
        raise InputError(f"{source}: is a file; give the directory that holds it and config.json")
    return hub.download(str(source)) if hub.is_repository(str(source)) else None
