"""`mien adopt` and `mien calibrate`, from another's network to a threshold that commands take."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import Run
from PIL import Image

from mien.recognition.model import load
from mien.recognition.onnx import graph

AT = ("--detector", "whole")


def reds(path: Path) -> Path:
    """A network that sees the red of sixteen parts of a face, and no colour else."""
    weights = np.zeros((1, 3, 28, 28), np.float32)
    weights[:, 0] = 1 / 28**2
    nodes = [
        graph.node("Conv", ["x", "weights"], ["maps"], strides=[28, 28]),
        graph.node("Flatten", ["maps"], ["y"]),
    ]
    shape = ("N", 3, 112, 112)
    path.write_bytes(
        graph.model(
            nodes,
            [graph.initializer("weights", weights)],
            [graph.value_info("x", graph.FLOAT, *shape)],
            [graph.value_info("y", graph.FLOAT, "N", 16)],
        )
    )
    return path


def save_people(folder: Path, people: int, photos: int) -> None:
    """Faces whose red is their person's, and whose green and blue are the photo's."""
    for person in range(people):
        own = np.random.default_rng(person).integers(0, 256, (4, 4))
        for photo in range(photos):
            other = np.random.default_rng([person, photo])
            face = other.integers(0, 256, (4, 4, 3), np.uint8)
            face[..., 0] = np.clip(own + other.integers(-20, 20, (4, 4)), 0, 255)
            path = folder / str(person) / f"{photo}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(face.repeat(28, 0).repeat(28, 1)).save(path)


def test_a_network_is_adopted_calibrated_and_used(bare: Run, tmp_path: Path) -> None:
    reds(tmp_path / "theirs.onnx")
    save_people(tmp_path / "people", 12, 3)
    adopt = ("adopt", "theirs.onnx", "ours.onnx", "people", "--fmr", "0.1", *AT)
    found = bare(*adopt, "--json").document
    form, tried = found["form"], found["tried"]
    assert form in ("half", "imagenet")  # between which red does not tell
    assert tried[form] > 2 * max(tried["bgr"], tried["bytes-bgr"], tried["imagenet-bgr"])
    assert found["calibration"]["chosen"]["tmr"] == 1
    card = load("ours.onnx").policy()
    assert card.threshold == found["calibration"]["chosen"]["threshold"]
    assert f"as {form}" in bare(*adopt).out
    same = bare("compare", "people/0/0.png", "people/0/1.png", "--model", "ours.onnx", *AT)
    other = bare("compare", "people/0/0.png", "people/1/1.png", "--model", "ours.onnx", *AT)
    assert (same.code, other.code) == (0, 1)


def test_an_adopted_network_without_photos_has_no_threshold(bare: Run, tmp_path: Path) -> None:
    reds(tmp_path / "theirs.onnx")
    save_people(tmp_path / "few", 3, 2)
    plain = ("adopt", "theirs.onnx", "ours.onnx")
    assert "give --form, or a FOLDER" in bare(*plain).err
    assert "give --form, or a FOLDER" in bare(*plain, "few", "--strangers", *AT).err
    assert "too few photos show one person twice" in bare(*plain, "few", *AT).err
    assert "ends in .onnx" in bare("adopt", "theirs.onnx", "ours.pb", "--form", "half").err
    assert "use one of half" in bare(*plain, "--form", "halves").err
    assert not (tmp_path / "ours.onnx").exists()
    done = bare(*plain, "--form", "half")
    assert done.code == 0 and "run mien calibrate" in done.err
    done = bare(*plain, "few", "--form", "half", *AT)
    assert done.code == 3 and "needs 30000" in done.err
    refused = bare("compare", "few/0/0.png", "few/0/1.png", "--model", "ours.onnx", *AT)
    assert refused.code == 2 and "--calibration with what mien calibrate has found" in refused.err


def test_classes_are_balanced(bare: Run, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="balancing needs the extra train")
    reds(tmp_path / "theirs.onnx")
    save_people(tmp_path / "all", 64, 1)
    rows = [f"{person}/0.png,{person % 2},x" for person in range(64)]
    (tmp_path / "all/labels.csv").write_text("\n".join(["file,age,group", *rows]))
    asked = ("adopt", "theirs.onnx", "ours.onnx", "--form", "half", *AT)
    found = bare(*asked, "--balance", "all/labels.csv", "--json").document
    assert found["balance"]["classes"] == 2 and found["balance"]["share"] == 0.5
    assert found["model_id"] != bare(*asked, "--json").document["model_id"]


def test_every_model_takes_another_calibration(bare: Run, tmp_path: Path) -> None:
    save_people(tmp_path / "people", 8, 2)
    asked = ("calibrate", "mien-small", "people", "--fmr", 0.5, *AT)
    found = bare(*asked, "--json", "--out", "mine.onnx")
    assert found.code == 0, found.err
    (tmp_path / "found.json").write_text(found.out)
    (tmp_path / "other.json").write_text(found.out.replace("mien-small-", "mien-large-"))
    (tmp_path / "text.json").write_text("{}")
    chosen = found.document["chosen"]["threshold"]
    one = ("compare", "people/0/0.png", "people/0/0.png", *AT, "--json")
    for given in (("--calibration", "found.json"), ("--model", "mine.onnx")):
        compared = bare(*one, *given).document
        assert compared["threshold"] == chosen
        assert compared["model_id"] == found.document["model_id"]
    assert load(calibration=json.loads(found.out)).policy().threshold == chosen
    assert "the calibration is of mien-large-" in bare(*one, "--calibration", "other.json").err
    assert "is not what mien calibrate" in bare(*one, "--calibration", "text.json").err
    strangers = bare(*asked, "--strangers", "--json").document
    assert (strangers["people"], strangers["chosen"]["tmr"]) == (16, None)
    assert strangers["impostors"]["gains"]["16"] > 1


@pytest.mark.parametrize("command", ["identify", "album", "serve", "camera", "cluster"])
def test_commands_take_a_calibration(bare: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "text.json").write_text("{}")
    save_people(tmp_path / "people", 1, 1)
    paths = {
        "identify": ("people", "--model", "mien-small"),
        "camera": ("0", "--no-window", "--model", "mien-small"),
        "serve": (),
    }.get(command, ("people",))
    refused = bare(command, *paths, "--calibration", "text.json")
    assert refused.code == 2 and "is not what mien calibrate --json prints" in refused.err
