"""Debian packages of help pages, a few paragraphs each, made without Debian's tools."""

import io
import tarfile

VERSION = "4:7.4.7-1"


def help_page(paragraphs):
    """HTML of a help page: `paragraphs` is a list of (id, markup)."""
    body = "\n".join(f'<p id="{name}" class="paragraph" dir="auto">{markup}</p>' for name, markup in paragraphs)
    return f'<!DOCTYPE html><html><body><div id="DisplayArea">\n{body}\n</div><p id="bm_module"></p></body></html>'


def write_package(directory, language, pages, folder=None, version=VERSION):
    """Writes `libreoffice-help-<language>_..._all.deb` into `directory`, and returns its path.

    Args:
        language: str, as in the package's name: "en-us".
        pages: dict, "scalc/main.html" -> HTML, put into the help folder `folder`.
        folder: str. By default the package's language with its region in capitals: "en-US".
    """
    language_part, _, region = language.partition("-")
    folder = folder or (f"{language_part}-{region.upper()}" if region else language)
    name = f"libreoffice-help-{language}"
    files = {f"./usr/share/libreoffice/help/{folder}/text/{page}": html for page, html in pages.items()}
    members = [
        ("debian-binary", b"2.0\n"),
        ("control.tar.xz", tar({"./control": f"Package: {name}\nVersion: {version}\n"})),
        ("data.tar.xz", tar({f"./usr/share/doc/{name}/copyright": "MPL-2.0\n", **files})),
    ]
    path = directory / f"{name}_{version.replace(':', '%3a')}_all.deb"
    path.write_bytes(b"!<arch>\n" + b"".join(ar_member(*member) for member in members))
    return path


def tar(files):
    """A .tar.xz of `files` (dict, name -> str)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode("utf-8"))
            archive.addfile(entry, io.BytesIO(text.encode("utf-8")))
    return buffer.getvalue()


def ar_member(name, body):
    """One member of an `ar` archive, padded to an even length."""
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(body):<10}`\n"
    assert len(header) == 60
    return header.encode("ascii") + body + b"\n" * (len(body) % 2)
