"""Processes that look at photos: what they return and raise, and that they can be replaced."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, colours

from mien.errors import BadInput, BadModel
from mien.recognition.model import Model, load
from mien.serve.workers import Overloaded, WorkerLost, Workers


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


def test_nothing_of_what_failed_is_kept(workers: Workers) -> None:
    photo = bytes(1000)
    before = sys.getrefcount(photo)
    gc.disable()  # which would end a cycle, some time
    try:
        for _ in range(3):
            with suppress(BadInput):
                workers.run(refuse, photo)
        assert sys.getrefcount(photo) == before
    finally:
        gc.enable()


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
        with pytest.raises(WorkerLost, match=r"has ended \(3\)"):
            workers.run(end, 3)
    after = {workers.run(process, number)[1] for number in range(4)}
    assert len(after) == 2
    assert not before & after


def sleep(model: Model, seconds: float) -> None:
    time.sleep(seconds)


def test_who_takes_too_long_is_killed_and_replaced(workers: Workers) -> None:
    before = {workers.run(process, number)[1] for number in range(4)}
    for _ in before:
        with pytest.raises(Overloaded, match="took too long"):
            workers.run(sleep, 60, until=time.monotonic() + 0.2)
    after = {workers.run(process, number)[1] for number in range(4)}
    assert len(after) == 2
    assert not before & after


def test_who_waits_gives_up_in_time(workers: Workers) -> None:
    with ThreadPoolExecutor(2) as clients:
        busy = [clients.submit(workers.run, sleep, 1) for _ in range(2)]
        time.sleep(0.3)
        with pytest.raises(Overloaded, match="no worker was free"):
            workers.run(process, 1, until=time.monotonic() + 0.1)
        for one in busy:
            one.result()


def test_a_busy_one_does_not_hold_up_the_end() -> None:
    with Workers(FakeModel, 1) as pool, ThreadPoolExecutor(1) as clients:
        pool.wait()
        busy = clients.submit(pool.run, sleep, 60)
        time.sleep(0.3)
        begun = time.monotonic()
        pool.__exit__()
        with pytest.raises(WorkerLost):
            busy.result(10)
        assert time.monotonic() < begun + 10


def test_a_busy_one_ends_with_who_began_it() -> None:
    code = (
        "import os, threading, fakes, test_workers; from mien.serve.workers import Workers\n"
        "pool = Workers(fakes.FakeModel, 1).__enter__(); pool.wait()\n"
        "pid = pool.run(test_workers.process, 0)[1]\n"
        "threading.Thread(target=pool.run, args=(test_workers.sleep, 60), daemon=True).start()\n"
        "threading.Event().wait(0.3); print(pid, flush=True); os.kill(os.getpid(), 9)"
    )
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        timeout=30,
    )
    deadline = time.monotonic() + 10
    while is_running(int(done.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def complain(model: Model) -> None:
    os.write(2, b"Corrupt data\n")
    print("a traceback", file=sys.stderr, flush=True)


def test_decoders_do_not_write_into_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    with Workers(FakeModel, 1) as pool:
        pool.wait()
        pool.run(complain)
    assert capfd.readouterr().err == "a traceback\n"


def test_a_model_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    file = tmp_path / "gone.onnx"
    make = partial(load, file, threads=1)
    with Workers(make, 1) as started, pytest.raises(BadModel, match=r"gone\.onnx"):
        started.wait()
