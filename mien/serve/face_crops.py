"""The faces that a service has enrolled, cut out: files that only their owner can read.

They are called by their own SHA-256, so neither a listing nor a log tells who they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from mien import files
from mien.errors import BadInput, cannot_write
from mien.facebank.rows import Photo
from mien.facebank.stores import Store
from mien.images import read_bytes


class KeptFaces:
    """A folder of cut-outs, PNG, each as SHA256.png.

    Args:
        folder: its real path; it is made when the first face is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def owns(self, photo: Photo) -> bool:
        """Whether a photo in the facebank is one of these."""
        return photo.folder == str(self.folder)

    def write(self, photo: Photo, png: bytes) -> None:
        """Keep a face.

        Raises:
            CannotWrite: see `mien.files.write_atomically`.
        """
        files.write_atomically(photo.path, png, private=True)

    def read(self, photo: Photo) -> bytes:
        """A face that was kept.

        Raises:
            BadInput: it is gone, or is another.
        """
        png = read_bytes(photo.path)
        if hashlib.sha256(png).hexdigest() != photo.sha256:
            raise BadInput("it has changed since it was enrolled")
        return png

    def remove(self, photo: Photo) -> None:
        """Keep a face no longer.

        Raises:
            CannotWrite: the system does not let it go.
        """
        with _in_words(photo.path):
            photo.path.unlink(missing_ok=True)

    def mend(self, bank: Store) -> None:
        """Take people's names out of file names, and others' right to read out of modes.

        Each step can be repeated, so the next start continues where this one was stopped.

        Raises:
            CannotWrite: see `mien.files.write_atomically`.
        """
        if not self.folder.is_dir():
            return
        with _in_words(self.folder):
            self.folder.chmod(0o700)
            named = [path for path in self.folder.iterdir() if path.is_dir()]
            if named:
                old = [photo for photo in bank.photos() if self.owns(photo) and "/" in photo.file]
                for photo in old:
                    if photo.path.is_file():
                        photo.path.replace(self.folder / f"{photo.sha256}.png")
                bank.move([replace(photo, file=f"{photo.sha256}.png") for photo in old])
            for folder in named:
                for path in folder.glob("*.png"):  # nobody's: of an enrolment that was cut short
                    path.unlink()
                with suppress(OSError):  # it holds something that is not ours
                    folder.rmdir()
            for path in self.folder.glob("*.png"):
                path.chmod(0o600)


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error
