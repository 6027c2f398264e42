"""ZIP archives whose directory is damaged: one message, whatever Python's zipfile makes of it."""

import io
import struct
import zipfile

import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.readers.archive import open_member, read_members

# Places in an entry of the directory (PKWARE's APPNOTE, 4.3.12).
FLAGS, NAME_LENGTH, EXTRA_LENGTH, OFFSET, NAME = 8, 28, 30, 42, 46
UTF_8_NAME = 0x800


def damaged(change):
    """Bytes of an archive of two members, the first one's entry in the directory changed."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.en-de.en", "a\n")
        archive.writestr("x.en-de.de", "b\n")
    data = bytearray(file.getvalue())
    change(data, data.index(b"PK\1\2"))
    return bytes(data)


def before_the_beginning(data, entry):
    # The end of the directory says that it begins later than it does: all places move towards the beginning.
    end = data.index(b"PK\5\6")
    struct.pack_into("<L", data, end + 16, struct.unpack_from("<L", data, end + 16)[0] + 30)


def name_that_is_no_utf_8(data, entry):
    struct.pack_into("<H", data, entry + FLAGS, UTF_8_NAME)
    data[entry + NAME + 1] = 0xFA


def other_name_in_the_member(data, entry):
    data[data.index(b"x.en-de.en")] = 0xFA
    struct.pack_into("<H", data, data.index(b"PK\3\4") + 6, UTF_8_NAME)


def no_name(data, entry):
    # The name's bytes become an extra field of an unknown kind.
    struct.pack_into("<HH", data, entry + NAME_LENGTH, 0, 10)
    struct.pack_into("<HH", data, entry + NAME, 0x7777, 6)


@pytest.mark.parametrize("change", [before_the_beginning, name_that_is_no_utf_8, other_name_in_the_member, no_name])
def test_a_damaged_directory_is_refused_by_name(tmp_path, change):
    path = tmp_path / "a.zip"
    path.write_bytes(damaged(change))
    with pytest.raises(InputError) as error, open(path, "rb") as file:
        for member in read_members(path):
            open_member(file, path, member.orig_filename)
    assert str(error.value).startswith(f"{path}: ") and "fetch it again" in str(error.value)


def test_an_undamaged_one_is_read(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(damaged(lambda data, entry: None))
    with open(path, "rb") as file:
        texts = [open_member(file, path, member.orig_filename)[0].read() for member in read_members(path)]
    assert texts == [b"a\n", b"b\n"]


def test_errors_of_the_system_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_members(tmp_path / "none.zip")
