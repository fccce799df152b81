"""What reads files from strangers: each ends in a result or in one of our errors."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mien import images
from mien.errors import MienError
from mien.evaluation import verification_set
from mien.facebank import archive, salvage
from mien.facebank.facebank import Facebank
from mien.recognition.embedder import OnnxEmbedder
from mien.training.data import recordio


def image(data: bytes) -> None:
    """A photo."""
    images.decode(data)


def facebank(path: Path) -> None:
    """A facebank: opened, read, changed, checked, repaired, and read again."""
    with suppress(MienError), Facebank.open(path, key="") as bank:
        bank.templates()
        bank.log()
        for person in bank.people()[:1]:
            bank.rename(person.name, "Somebody", merge=True)
            bank.delete_person("Somebody")
    salvage.check(path, key="")
    salvage.repair(path, key="", model_id="tiny")
    assert not salvage.check(path, key="").damage


def people(data: bytes) -> None:
    """What mien people import takes, with a right checksum, as an attacker would give it one."""
    with suppress(MienError):
        archive.parse(data, "people.jsonl")
    found = archive.parse(archive.sealed(data), "people.jsonl")
    dim = found.vectors.shape[1]
    with Facebank.create(":memory:", model_id=found.model_id, dim=dim) as bank:
        archive.bring(found, bank)


def model(path: Path) -> None:
    """A model's file and its card."""
    OnnxEmbedder(path, threads=1)


def records(path: Path) -> None:
    """Training records, .rec without an index."""
    for _ in recordio.stream(path):
        pass


def _of_file(read: Callable[[Path], object]) -> Callable[[bytes], None]:
    """What reads a file, for bytes."""

    def target(data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "f")
            path.write_bytes(data)
            read(path)

    return target


_TARGETS: dict[str, Callable[[bytes], None]] = {
    "image": image,
    "facebank": _of_file(facebank),
    "people": people,
    "model": _of_file(model),
    "verification": _of_file(verification_set.read),
    "records": _of_file(records),
}
TARGETS = tuple(_TARGETS)


def run(name: str, data: bytes) -> None:
    """Give bytes to a target; whatever is raised is a finding."""
    with suppress(MienError):
        _TARGETS[name](data)
