"""Reads files out of a Debian package, with the standard library alone."""

import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError

AR_MAGIC = b"!<arch>\n"
AR_HEADER_SIZE = 60


def read_files(path: PathLike, member: str) -> Iterator[tuple[str, bytes]]:
    """Yields (name, contents) of the plain files in one half of a package.

    Args:
        path: str or path of a .deb file.
        member: str. "control" (the package's description) or "data" (what it installs).

    Yields:
        Names (str) relative to the root, without a leading `./`; contents as bytes.

    Raises:
        InputError: if the file is not a whole package, or its compression is unknown to `tarfile`.
    """
    body, name = read_member(path, member)
    try:
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            for entry in archive:
                if entry.isfile() and (file := archive.extractfile(entry)) is not None:
                    yield entry.name.removeprefix("./"), file.read()
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: {name}: {reason}; fetch it again, or repack it with xz") from None


def read_member(path: PathLike, member: str) -> tuple[bytes, str]:
    """The bytes of the member of a .deb whose name begins with `<member>.tar`, and its full name.

    A .deb is an `ar` archive: a magic line, then members with a header of 60 bytes (the name in the
    first 16, the size in decimal at 48) and a body padded to an even length; see deb(5).
    """
    with open(path, "rb") as file:
        if file.read(len(AR_MAGIC)) != AR_MAGIC:
            raise InputError(f"{path}: is not a Debian package; fetch it again")
        while header := file.read(AR_HEADER_SIZE):
            name = header[:16].decode("ascii", "replace").strip().rstrip("/")
            size = header[48:58].strip()
            if not size.isdigit():
                break
            body = file.read(int(size))
            if len(body) < int(size):
                break
            if name.startswith(f"{member}.tar"):
                return body, name
            file.read(int(size) % 2)
    raise InputError(f"{path}: has no complete {member}.tar; fetch the package again")
