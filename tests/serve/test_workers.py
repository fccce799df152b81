"""Processes that look at photos: what they return and raise, and that they can be replaced."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, colours

from mien.errors import BadInput, BadModel
from mien.recognition.model import Model, load
from mien.serve.workers import Lost, Workers


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(FakeModel, 2) as started:
        started.wait()
        yield started


def process(model: Model, number: int) -> tuple[str, int, int]:
    """Who does it, and for whom."""
    return model.model_id, os.getpid(), number


def refuse(model: Model, reason: str) -> None:
    raise BadInput(reason)


def fail(model: Model) -> None:
    raise OSError("a disk has failed")


def end(model: Model, code: int) -> None:
    os._exit(code)


def test_everyone_gets_their_own_answer(workers: Workers) -> None:
    with ThreadPoolExecutor(16) as clients:
        found = list(clients.map(lambda number: workers.run(process, number), range(200)))
    assert [number for _, _, number in found] == list(range(200))
    assert {model_id for model_id, _, _ in found} == {"mean-colours"}
    assert len({pid for _, pid, _ in found}) == 2
    assert os.getpid() not in {pid for _, pid, _ in found}


def test_faces_are_those_of_the_model(workers: Workers) -> None:
    picture = colours(1).repeat(16, axis=0).repeat(16, axis=1)
    (there,), (here,) = workers.run(Model.detect, picture), FakeModel().detect(picture)
    assert np.array_equal(there.box, here.box)
    assert np.array_equal(there.points, here.points)


def test_what_is_raised_comes_back(workers: Workers) -> None:
    with pytest.raises(BadInput, match="no photo"):
        workers.run(refuse, "no photo")
    with pytest.raises(OSError, match="a disk has failed") as raised:
        workers.run(fail)
    assert "in fail" in raised.value.__notes__[0]
    with pytest.raises(AttributeError):  # what cannot be sent
        workers.run(lambda model: None)
    assert [workers.run(process, number)[2] for number in range(4)] == [0, 1, 2, 3]


def test_who_ends_is_replaced(workers: Workers) -> None:
    before = {workers.run(process, number)[1] for number in range(4)}
    for _ in before:
        with pytest.raises(Lost, match=r"has ended \(3\)"):
            workers.run(end, 3)
    after = {workers.run(process, number)[1] for number in range(4)}
    assert len(after) == 2
    assert not before & after


def test_a_model_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    file = tmp_path / "gone.onnx"
    make = partial(load, file, threads=1)
    with Workers(make, 1) as started, pytest.raises(BadModel, match=r"gone\.onnx"):
        started.wait()
