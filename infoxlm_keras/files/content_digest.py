"""One digest of all that a file or folder holds."""

import hashlib
import pathlib

from infoxlm_keras.annotations import PathLike


def content_digest(path: PathLike) -> str:
    """Digest of a file, or of all files below a folder with their names, str of 32 hexadecimal digits.

    Args:
        path: str or path of a file or folder.

    Raises:
        OSError: if it is not there, or cannot be read.
    """
    path = pathlib.Path(path)
    if path.is_file():
        return _of_file(path)
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{_of_file(file)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _of_file(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
