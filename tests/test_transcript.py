"""The way of docs/train.md, from InsightFace's files to a name, as a person walks it."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path

import cv2
import pytest
import rec

pytest.importorskip("torch", reason="training is an extra: pip install 'mien[train]'")
pytest.importorskip("pyarrow", reason="preparing data is an extra: pip install 'mien[data]'")

from mien.cli import main
from mien.recognition.align import read_face
from mien.recognition.detect.mtcnn import MTCNN


@pytest.fixture(scope="module")
def insightface(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train.rec` of 4 people with 8 photos each, and `lfw.bin` of pairs of them."""
    folder = tmp_path_factory.mktemp("faces_emore")
    detector = MTCNN(min_face=30, threads=1)
    crops: dict[int, list[bytes]] = {}
    for label, person in enumerate(sorted((data / "celebs").iterdir())[:4]):
        images = [read_face(path, detector) for path in sorted(person.iterdir())[:8]]
        crops[label] = [
            cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
            for image in images
        ]
    records = [(label, image) for label, images in crops.items() for image in images]
    rec.write(folder, rec.insightface(records))
    (folder / "property").write_text("4,112,112\n")
    same = [pair for images in crops.values() for pair in combinations(images[:5], 2)]
    different = list(product(crops[0][:5], crops[1])) + list(product(crops[2][:5], crops[3]))
    pairs = [(pair, truth) for pair, truth in zip(same, [True] * 40, strict=True)]
    pairs += [(pair, False) for pair in different[:40]]
    ordered = [pairs[k] for start in range(40) for k in (start, start + 40)]
    pictures = [image for pair, _ in ordered for image in pair]
    content = (pictures, [truth for _, truth in ordered])
    (folder / "lfw.bin").write_bytes(pickle.dumps(content))
    return folder


def torchrun(*command: object) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", *map(str, command)],
        capture_output=True,
        text=True,
        env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def mien(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs a command in an empty folder, and gives what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIEN_FACEBANK", "facebank.db")

    def run(*arguments: object) -> str:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert end.value.code in (None, 0), err
        return out

    return run


def test_from_insightfaces_files_to_a_name(
    mien: Callable[..., str], insightface: Path, data: Path, tmp_path: Path
) -> None:
    mien("prepare", insightface, "--out", "data")
    train = ("train", "-d", "data", "--out", "run", "-net", "seesaw_tiny", "--loss", "liarcface")
    short = ("-b", 8, "--steps", 3, "-lr", 0.01, "--validate", "data/lfw.bin")
    printed = torchrun("--nproc-per-node=2", "-m", "mien", *train, *short)
    assert printed.split() == ["run/last.safetensors"]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["trained"]["people"] == 4
    assert 0 <= record["results"]["validation"]["lfw"] <= 1
    mien("export", "run/last.safetensors", "mine.onnx")
    measured = mien("evaluate", "mine.onnx", "data/lfw.bin", "--threshold", 0.5, "--json")
    assert json.loads(measured)["evaluations"][0]["pairs"] == 80
    people = tmp_path / "people"
    for person in sorted((data / "celebs").iterdir())[:2]:
        (people / person.name).mkdir(parents=True)
        (people / person.name / "1.jpg").symlink_to(sorted(person.iterdir())[0])
    mine = ("--model", "mine.onnx", "--threshold", 0.5)
    mien("enroll", people, *mine[:2])
    photo = next(people.glob("*/1.jpg"))
    assert photo.parent.name in mien("identify", photo, *mine, "--min-face", 30)
