"""Fuzz folders: python tests/fuzz/folders.py SECONDS [SEED].

Random trees hold photos, what cannot be read and what is no photo.  A model says which of them are
looked at, which are named as skipped, and what an album keeps when some are moved, changed or
deleted, or a folder is away.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, chdir
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import numpy as np
from disks import closed, happening
from fakes import FakeModel
from PIL import Image

from mien import files
from mien.collection.album import album
from mien.collection.fill import update
from mien.collection.photo_index import PhotoIndex
from mien.errors import BadInput
from mien.types import Skipped
from mien.verbs.identify import identify

IO, STALE = "broken disk.png", "server away.png"  # fail when they are opened


def photo(path: Path, rng: random.Random) -> None:
    """A photo like no other."""
    pixels = np.frombuffer(rng.randbytes(16 * 16 * 3), np.uint8).reshape(16, 16, 3)
    Image.fromarray(pixels).save(path, "PNG")


def bind(path: Path) -> None:
    """A socket in the file system, whose path may be long."""
    with socket.socket(socket.AF_UNIX) as made, chdir(path.parent):
        made.bind(path.name)


PHOTOS = (
    "a.png",
    "b c.PNG",
    "d\n.png",
    "\u00e9.jpg",
    "e\u0301.jpg",
    "\udcff.png",
    "n" * 251 + ".png",
)
BAD: dict[str, Callable[[Path], object]] = {  # are named as skipped
    "text.jpg": lambda path: path.write_text("no picture"),
    "nothing.png": Path.touch,
    "gone.png": lambda path: path.symlink_to("nowhere.png"),
    "disk": lambda path: path.symlink_to("unplugged"),
    "loop": lambda path: path.symlink_to("loop"),
    "pipe.jpg": os.mkfifo,
    "socket.png": bind,
    IO: Path.touch,
    STALE: Path.touch,
}
OTHERS: dict[str, Callable[[Path], object]] = {  # are passed over
    "notes.txt": Path.touch,
    "a.png.xmp": Path.touch,
    ".hidden.png": Path.touch,
    "x.mien.png": Path.touch,
    "up": lambda path: path.symlink_to(".."),
    "here": lambda path: path.symlink_to("."),
}
KEPT_BY_OTHERS = ("@eaDir", "#recycle", ".thumbnails", "$RECYCLE.BIN")


class Tree:
    """A random tree, and what is to be said of it."""

    def __init__(self, root: Path, rng: random.Random) -> None:
        self.root, self._rng = root, rng
        self.photos: set[Path] = set()
        self.bad: set[Path] = set()
        self.folders: list[Path] = []
        self._fill(root, 0)

    def _fill(self, folder: Path, depth: int, *, seen: bool = True) -> None:
        folder.mkdir(parents=True)
        self.folders.append(folder)
        rng = self._rng
        for name in rng.sample(PHOTOS, rng.randrange(4)):
            photo(folder / name, rng)
            if seen:
                self.photos.add(folder / name)
        for kind, share in ((BAD, 4), (OTHERS, 3)):
            for name in rng.sample(list(kind), rng.randrange(share)):
                kind[name](folder / name)
                if seen and kind is BAD:
                    self.bad.add(folder / name)
        if depth < 3:
            for number in range(rng.randrange(3)):
                self._fill(folder / f"f{number}", depth + 1, seen=seen)
        if rng.random() < 0.1:
            self._fill(folder / rng.choice(KEPT_BY_OTHERS), 3, seen=False)
        if rng.random() < 0.1:
            self._fill(folder / "own", 3, seen=False)
            (folder / "own/.nomedia").touch()

    def close(self, folder: Path) -> None:
        """Expect nothing of a folder but that it is named, if it would have been looked into."""
        inside = {path for path in self.photos | self.bad if folder in path.parents}
        *above, name = folder.relative_to(self.root).parts
        hidden = "own" in above or any(map(files.is_left_out, (*above, name)))
        self.photos -= inside
        self.bad -= inside
        if not hidden:
            self.bad.add(folder)

    def change(self) -> tuple[set[Path], set[Path]]:
        """Move, change, delete and empty; where photos are now, and what an album keeps beside."""
        rng, before = self._rng, set(self.photos)
        for number, path in enumerate(sorted(before)):
            kind = rng.randrange(10)
            target = rng.choice(sorted(before)).with_name(f"moved {number}.png")
            if kind == 0:
                path.unlink()
                self.photos.discard(path)
            elif kind == 1:
                path.rename(target)
                self.photos ^= {path, target}
            elif kind == 2:
                photo(path, rng)
                os.utime(path, ns=(number, number))
        away = set()
        for folder in {path.parent for path in before} - {self.root}:
            if rng.random() < 0.2 and folder.is_dir():
                lost = {path for path in self.photos if folder in path.parents}
                shutil.rmtree(folder)
                self.photos -= lost
                self.bad -= {path for path in self.bad if folder in path.parents}
                if rng.random() < 0.5:
                    folder.mkdir()
        for path in before - self.photos:
            place = next(one for one in path.parents if one.is_dir())
            if not any(not one.name.startswith(".") for one in place.iterdir()):
                away.add(path)
        return set(self.photos), away


def assert_same(found: set[Path], expected: set[Path], what: str) -> None:
    """Say what is missing, and what should not be there."""
    missing, more = sorted(expected - found), sorted(found - expected)
    assert not missing and not more, f"{what}: not {missing}, but {more}"


def check(place: Path, rng: random.Random) -> None:
    """Look at a tree twice, and at what an album keeps of it.

    Raises:
        AssertionError: something else was said than the model says.
    """
    tree = Tree(place / "tree", rng)
    model = FakeModel()
    with ExitStack() as stack:
        stack.enter_context(happening({IO: errno.EIO, STALE: errno.ESTALE}))
        with ExitStack() as shut:
            if len(tree.folders) > 1 and rng.random() < 0.5:
                folder = rng.choice(tree.folders[1:])
                whole = set(tree.photos), set(tree.bad)
                shut.enter_context(closed(folder))
                tree.close(folder)
            else:
                whole = tree.photos, tree.bad
            seen, named = _identified(tree.root, model)
            if seen is not None or tree.photos:
                assert_same(seen or set(), tree.photos, "looked at")
                assert_same(named, tree.bad, "named")
        tree.photos, tree.bad = whole
        with PhotoIndex(place / "index.db") as index:
            texts = {path for path in tree.photos if files.is_text(path)}
            if _updated(index, model, tree.root) is None:
                return
            assert_same(_kept(index, model, tree.root), texts, "kept")
            there, away = tree.change()
            if _updated(index, model, tree.root) is None:
                assert_same(_kept(index, model, tree.root), texts, "kept, where nothing is found")
                return
            expected = {path for path in there | away if files.is_text(path)}
            assert_same(_kept(index, model, tree.root), expected, "kept after changes")


def _identified(root: Path, model: FakeModel) -> tuple[set[Path] | None, set[Path]]:
    """Which photos are looked at, and what is named as skipped."""
    from mien.facebank.facebank import Facebank

    try:
        found = files.walk([root])
    except BadInput:
        return None, set()
    with Facebank.create(":memory:", model_id=model.model_id, dim=model.dim) as nobody:
        results = list(identify(found, model, nobody))
    bad = {one.path for one in (*found.skipped, *results) if isinstance(one, Skipped)}
    return {one.path for one in results if not isinstance(one, Skipped)}, bad


def _updated(index: PhotoIndex, model: FakeModel, root: Path) -> object:
    try:
        return update(root, model, index)
    except BadInput:  # no photo at all
        return None


def _kept(index: PhotoIndex, model: FakeModel, root: Path) -> set[Path]:
    return {entry.path for entry in album(root, model, index, None)}


def run(seconds: float, seed: int = 0) -> int:
    """Check trees for so many seconds; how many they were."""
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        with tempfile.TemporaryDirectory() as place:
            try:
                check(Path(os.path.realpath(place)), random.Random(f"{seed} {count}"))
            except AssertionError as error:
                raise AssertionError(f"tree {count} of seed {seed}: {error}") from error
        count += 1
    return count


if __name__ == "__main__":
    seconds, *seed = map(int, sys.argv[1:])
    print(f"{run(seconds, *seed)} trees, each as the model says")
