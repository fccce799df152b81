"""Kill mien at random moments and see that nothing that it acknowledged is lost.

`make faults` runs thousands of kills; the tests run a few.  It is kept with the tests, not in a
command of mien: it tests this code on this machine's disk, and measures nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import multiprocessing
import os
import random
import re
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch

import children
import numpy as np

from mien.facebank.facebank import Facebank
from mien.facebank.rows import Photo
from mien.facebank.salvage import check
from mien.types import Embeddings

MODEL, DIM, STEPS = "tiny-1a2b3c", 8, 60
CACHED = patch("mien.facebank.facebank.LARGE", 1)  # so that there are caches
DOCS = Path(__file__).parents[1] / "docs" / "facebank.md"
FORMAT_2, FORMAT_1 = re.findall(r"```sql\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)

State = dict[str, str]  # whose each photo is, by its hash


def vectors(numbers: list[int]) -> Embeddings:
    """The vector of each photo by its number, (N, 8)."""
    rows = [np.random.default_rng(number).normal(size=DIM) for number in numbers]
    there = np.array(rows).reshape(-1, DIM)
    unit: Embeddings = (there / np.linalg.norm(there, axis=1, keepdims=True)).astype(np.float32)
    return unit


def photo(person: str, number: int) -> Photo:
    """A photo by its number."""
    return Photo(person, sha256(number), "/photos", f"{number}.jpg", 0.9, 80.0)


def named(kind: str, step: int) -> str:
    """A name that cannot stand in the file by chance."""
    return f"{kind}{step}-{sha256(step)[:16]}"


def sha256(number: int) -> str:
    """A hash without runs of zeros, which could stand in the file by chance."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def script(seed: int) -> list[tuple[Callable[[Facebank], object], State]]:
    """Changes one after the other, and what is in the facebank after each."""
    rng, state = random.Random(seed), {sha256(n): named("P", n) for n in range(20)}
    steps: list[tuple[Callable[[Facebank], object], State]] = []
    for step in range(STEPS):
        who = rng.choice(sorted({*state.values()})) if state else ""
        kind = rng.choice(["enrol", "enrol", "rename", "delete"]) if who else "enrol"
        change: Callable[[Facebank], object]
        if kind == "enrol":
            numbers = [100 * (step + 1) + i for i in range(rng.randrange(1, 30))]
            rows = [photo(named("N", step), number) for number in numbers]
            change = partial(Facebank.add, photos=rows, vectors=vectors(numbers))
            state = state | {row.sha256: row.person for row in rows}
        elif kind == "rename":
            new = named("R", step)
            change = partial(Facebank.rename, old=who, new=new)
            state = {sha: new if name == who else name for sha, name in state.items()}
        else:
            change = partial(Facebank.delete_person, name=who)
            state = {sha: name for sha, name in state.items() if name != who}
        steps.append((change, state))
    return steps


@CACHED
def kill_in_changes(folder: Path, seed: int) -> int:
    """Kill a process in a script of changes; how many it had acknowledged."""
    path, rng = folder / "f", random.Random(seed)
    with Facebank.create(path, model_id=MODEL, dim=DIM) as bank:
        bank.keep_log(50)
        bank.add([photo(named("P", n), n) for n in range(20)], vectors(list(range(20))))
        before = {row.sha256: row.person for row in bank.photos()}
    steps = script(seed)

    @CACHED
    def work(acknowledge: Connection) -> None:
        with Facebank.open(path, model_id=MODEL) as bank:
            acknowledge.send(0)
            for number, (change, _) in enumerate(steps, 1):
                change(bank)
                bank.search(vectors([0]), -1)  # which leaves a cache
                acknowledge.send(number)

    done = _kill(work, rng, after=rng.randrange(STEPS), within=0.03)
    states = [before, *(state for _, state in steps)]
    allowed = states[done : done + 2]  # what was under way may have gone through
    found, left = _look(path)
    assert found in allowed, f"seed {seed}: not what was acknowledged after change {done}"
    gone = {sha for state in states[: done + 1] for sha in state} - found.keys()
    for old, new in itertools.pairwise(states[: done + 1]):
        if not new.keys() >= old.keys():
            gone |= {*old.values()} - {*new.values()}
    assert not [one for one in gone if one.encode() in left], f"seed {seed}: traces of the deleted"
    return done


def kill_in_migration(folder: Path, seed: int) -> None:
    """Kill a process that brings a facebank of format 1 up to date."""
    path, rng = folder / "f", random.Random(seed)
    with sqlite3.connect(path) as db:
        db.executescript(FORMAT_1 + "PRAGMA application_id = 0x6d69656e; PRAGMA user_version = 1;")
        db.execute("INSERT INTO facebank VALUES (1, ?, ?)", (MODEL, DIM))
        db.executemany(
            "INSERT INTO photo VALUES (?, ?, ?, '/photos', ?, 0.9, 80.0, 'then', ?)",
            [
                (n + 1, f"P{n}", sha256(n), f"{n}.jpg", vector.tobytes())
                for n, vector in enumerate(vectors(list(range(300))))
            ],
        )
    db.close()

    def work(acknowledge: Connection) -> None:
        acknowledge.send(0)
        Facebank.open(path).close()

    _kill(work, rng, after=0, within=0.05)
    found, _ = _look(path)
    assert found == {sha256(n): f"P{n}" for n in range(300)}, f"seed {seed}"


@CACHED
def kill_in_encryption(folder: Path, seed: int) -> None:
    """Kill a process that encrypts a facebank."""
    path, rng = folder / "f", random.Random(seed)
    numbers = list(range(300))
    with Facebank.create(path, model_id=MODEL, dim=DIM, key="") as bank:
        bank.add([photo(f"P{n}", n) for n in numbers], vectors(numbers))

    @CACHED
    def work(acknowledge: Connection) -> None:
        with Facebank.open(path, key="") as bank:
            bank.search(vectors([0]), -1)
            acknowledge.send(0)
            bank.encrypt("secret")

    _kill(work, rng, after=0, within=0.5)
    plain = path.read_bytes()[:6] == b"SQLite"
    assert plain or not path.with_name("f.cache").exists(), f"seed {seed}: a readable cache"
    found, _ = _look(path, "" if plain else "secret")
    assert found == {sha256(n): f"P{n}" for n in numbers}, f"seed {seed}"


def _kill(
    work: Callable[[Connection], None], rng: random.Random, *, after: int, within: float
) -> int:
    """Start some work and kill it within seconds after an acknowledgement; the last one's."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    (process,) = children.start(partial(work, sender))
    sender.close()
    done = -1
    while done < after:
        assert receiver.poll(60), "the process said nothing"
        done = receiver.recv()
    time.sleep(rng.uniform(0, within))
    assert process.pid is not None
    with suppress(ProcessLookupError):  # it was done before
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    while True:
        try:
            done = receiver.recv()
        except EOFError:
            return done


def _look(path: Path, key: str = "") -> tuple[State, bytes]:
    """What is in a facebank, which must be well, and the bytes of all files in its folder."""
    with Facebank.open(path, key=key) as bank:
        photos, rows = bank.contents()
        assert np.array_equal(rows, vectors([int(row.path.stem) for row in photos]))
        names, templates = bank.templates()
        for _ in range(2):  # by the cache that is there, and by a new one
            assert [match.person for match in bank.search(templates, -1)] == names
            bank._loaded = None
        entries = bank.log()
        assert {e.person for e in entries} <= {*(row.person for row in photos), None, ""}
    assert check(path, key=key).damage == ()
    left = b"".join(file.read_bytes() for file in path.parent.iterdir())
    return {row.sha256: row.person for row in photos}, left


KINDS = {
    "changes": kill_in_changes,
    "migration": kill_in_migration,
    "encryption": kill_in_encryption,
}


def main() -> None:
    """Kill as often as is asked for, each time in a new folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for name, kill in KINDS.items():
        for seed in range(asked.seed, asked.seed + asked.kills):
            with tempfile.TemporaryDirectory() as folder:
                kill(Path(folder), seed)
        print(f"{asked.kills} kills in {name}: nothing lost", flush=True)


if __name__ == "__main__":
    main()
