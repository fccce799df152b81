"""What Picasa knows of the faces in a folder: its .picasa.ini, and contacts.xml for the names.

Neither format was ever published.  What is read here is what many have found: a section for each
photo, in it `faces=rect64(HEX),CONTACT;...`, where HEX are four numbers of 16 bits without the
zeros before them (left, top, right, bottom), shares of the picture as stored, and of a raw file of
the picture upright.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mien import images
from mien.errors import BadInput
from mien.sidecar.xmp import Region, parse

_NAMES = (".picasa.ini", "Picasa.ini")  # the second of versions before 3
_FACE = re.compile(r"rect64\(([0-9a-f]{1,16})\),([0-9a-f]{1,16})(?![0-9a-f])", re.IGNORECASE)
_SECTION = re.compile(r"\s*\[(.+)\]\s*")
_MOST = 16 << 20  # bytes of a file


def read_contacts(path: str | Path) -> dict[int, str]:
    """The names in a contacts.xml, by contact.

    Raises:
        BadInput: it cannot be read, or is no such file.
    """
    try:
        root = parse(_read(Path(path)).encode())
    except ValueError as error:
        raise BadInput(f"{path} is no contacts.xml of Picasa ({error})") from error
    found = {}
    for one in root.iter("contact"):
        if (contact := _hex(one.get("id", ""))) is not None and one.get("name"):
            found[contact] = one.get("name", "")
    return found


class Picasa:
    """Regions by photo; each folder's file is read once.

    Args:
        contacts: what `read_contacts` found; without it a folder's own list of names counts.
    """

    def __init__(self, contacts: Mapping[int, str] | None = None) -> None:
        self._contacts = contacts or {}
        self._folders: dict[Path, tuple[Path, dict[str, list[Region]]] | None] = {}

    def regions(self, photo: Path) -> tuple[Path, list[Region]] | None:
        """The file that knows of faces in a photo, and those that have a name.

        Raises:
            BadInput: the file cannot be read.
        """
        folder = photo.parent
        if folder not in self._folders:
            self._folders[folder] = self._read(folder)
        if not (known := self._folders[folder]):
            return None
        path, photos = known
        return (path, photos[photo.name.lower()]) if photo.name.lower() in photos else None

    def _read(self, folder: Path) -> tuple[Path, dict[str, list[Region]]] | None:
        path = next((folder / name for name in _NAMES if (folder / name).is_file()), None)
        if path is None:
            return None
        names: dict[int, str] = {}
        faces: dict[str, list[tuple[str, int]]] = {}
        section = ""
        for line in _read(path).splitlines():
            key, _, value = line.partition("=")
            if found := _SECTION.fullmatch(line):
                section = found[1].lower()
            elif section == "contacts2" and (contact := _hex(key.strip())) is not None:
                names[contact] = value.partition(";")[0].strip()
            elif key.strip() == "faces":
                faces[section] = [(one[1], int(one[2], 16)) for one in _FACE.finditer(value)]
        names |= self._contacts
        return path, {
            photo: [
                Region(names[who], box)
                for rect, who in some
                if names.get(who)
                if (box := _box(rect))
            ]
            for photo, some in faces.items()
        }


def _read(path: Path) -> str:
    data = images.read_bytes(path)
    if len(data) > _MOST:
        raise BadInput(f"{path} is no usual file of Picasa, of {len(data)} bytes: move it away")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")  # of older versions, on Windows


def _hex(text: str) -> int | None:
    """A contact; leading zeros may be missing."""
    return int(text, 16) if re.fullmatch("[0-9a-fA-F]{1,16}", text) else None


def _box(rect: str) -> tuple[float, float, float, float] | None:
    whole = rect.zfill(16)
    x1, y1, x2, y2 = (int(whole[i : i + 4], 16) / 0xFFFF for i in range(0, 16, 4))
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None
