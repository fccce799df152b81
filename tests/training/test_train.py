"""Training learns, goes on after a kill as if it had not been, and is the same on many ranks."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training is an extra: pip install 'mien[train]'")

import torch.nn.functional as F  # noqa: E402
import toy  # noqa: E402
import typer  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402

from mien import machine  # noqa: E402
from mien.cli import main  # noqa: E402
from mien.cli import train as command  # noqa: E402
from mien.errors import BadInput, BadModel, CannotWrite, MienError, RunStopped  # noqa: E402
from mien.recognition.model import load  # noqa: E402
from mien.training import TrainConfig, checkpoint, find_batch, find_lr, loop, train  # noqa: E402
from mien.training import run as running  # noqa: E402
from mien.training.backbones import BACKBONES  # noqa: E402
from mien.training.config import FIXED, flag, read_toml, settings  # noqa: E402
from mien.training.data.batches import Batches  # noqa: E402
from mien.training.data.shards import Shards  # noqa: E402
from mien.training.losses import LOSSES  # noqa: E402
from mien.training.lr_finder import sweep  # noqa: E402
from mien.training.optim import learning_rate, network_optimizer  # noqa: E402
from mien.training.precision import Precision  # noqa: E402
from mien.training.run import Run  # noqa: E402
from mien.training.student import match_blocks, mixing, normalize  # noqa: E402
from mien.training.teacher import Teacher  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    toy.USUAL["data"] = str(toy.data(tmp_path_factory.mktemp("toys")))
    BACKBONES["toy"] = toy.Toy  # type: ignore[assignment]
    yield toy.USUAL["data"]
    del BACKBONES["toy"]


def begin(**settings: Any) -> Run:
    """A run before its first step."""
    config = toy.config(**settings)
    return Run(config, Shards(config.data), CPU)


def run(config: TrainConfig, out: Path, stop_at: int | None = None) -> list[dict[str, Any]]:
    """The log of a run, which may be stopped as a kill stops it: between two saves."""

    class Killed(BaseException):
        pass

    def report(entry: dict[str, Any]) -> None:
        if entry["step"] == stop_at:
            raise Killed

    try:
        train(config, out, report)
    except Killed:
        assert stop_at is not None
    return logged(out)


def logged(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def losses(log: list[dict[str, Any]]) -> dict[int, float]:
    return {entry["step"]: entry["loss"] for entry in log}


EVERYTHING = {
    "loss": "adaface",
    "negative_sample_rate": 0.5,
    "label_smoothing": 0.1,
    "optimizer": "adamw",
    "lr": 1e-2,
    "schedule": "cosine",
    "warmup": 3,
    "clip": 1.0,
    "ema": 0.9,
    "accumulate": 2,
    "augment": "all",
}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"precision": "fp16"},
        EVERYTHING,
        {"fold_after": 4, "ema": 0.9},
        {"fold_after": 8, "ema": 0.9},
    ],
    ids=["usual", "fp16", "everything", "folded before the save", "folded after the save"],
)
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    config = toy.config(save_every=7, **settings)
    straight = run(config, tmp_path / "a")
    run(config, tmp_path / "b", stop_at=10)
    with (tmp_path / "b" / "log.jsonl").open("a") as log:
        log.write('{"step": 11, "lo')  # as a kill leaves it
    assert losses(run(config, tmp_path / "b")) == losses(straight)
    one, other = (checkpoint.load(tmp_path / name / "last.safetensors") for name in "ab")
    for name, tensor in one.weights.items():
        assert torch.equal(tensor, other.weights[name]), name
    record = json.loads((tmp_path / "b" / "run.json").read_text())
    assert record["trained"]["step"] == 20
    assert record["trained"]["data"] == Shards(config.data).digest
    assert record["versions"]["torch"] == torch.__version__
    assert (tmp_path / "b" / "training.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in (tmp_path / "b").glob("head-*")] == [
        "head-000020-0-of-1.safetensors"
    ]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The same rounding on every machine, and whatever ran before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.usefixtures("one_thread")
def test_every_loss_learns(loss: str, tmp_path: Path) -> None:
    log = run(toy.config(loss=loss, steps=60, lr=0.05, augment="flip"), tmp_path)
    assert log[-1]["loss"] < 0.97 * log[0]["loss"]
    assert log[-1][loss] == log[-1]["loss"]


def test_a_checkpoint_holds_no_path_and_the_whole_recipe(tmp_path: Path) -> None:
    start = train(toy.config(steps=1), tmp_path / "first", lambda entry: None)
    last = train(toy.config(steps=1, weights=str(start)), tmp_path / "second", lambda entry: None)
    trained = checkpoint.load(last).trained
    assert str(tmp_path) not in json.dumps(trained)
    assert trained["recipe"]["weights"] == "last.safetensors"
    assert (trained["recipe"]["margin"], trained["recipe"]["scale"]) == (0.45, 16)
    assert (trained["pictures"], trained["people"]) == (60, 6)


def test_first_weights_are_those_of_another_run(tmp_path: Path) -> None:
    first = train(toy.config(steps=5), tmp_path / "a", lambda entry: None)
    begun = begin(weights=str(first), dim=4)
    wanted, found = checkpoint.load(first).weights, begun.network.state_dict()
    assert torch.equal(found["stem.0.weight"], wanted["stem.0.weight"])
    assert found["head.2.weight"].shape == (4, 16)  # of another size: random
    assert begun.weights_taken == (19, 24)
    with pytest.raises(BadInput, match=r"0 of the \d+ tensors of seesaw_share are in .*: give"):
        begin(weights=str(first), backbone="seesaw_share")


def test_initial_weights_that_hardly_fit_are_taken_only_where_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = train(toy.config(steps=1), tmp_path / "a")
    kept = checkpoint.load(first)
    few = dict(list(kept.weights.items())[:6])
    checkpoint.save(first, replace(kept, weights=few))
    with pytest.raises(BadInput, match=r"6 of the 24 tensors of toy are in .* --partial-weights"):
        begin(weights=str(first))
    line = ["train", "-d", toy.USUAL["data"], "-net", "toy", "--dim", "8", "-b", "12"]
    line += ["--steps", "1", "--weights", str(first), "--partial-weights"]
    with pytest.raises(SystemExit, match="0"):
        main([*line, "--out", str(tmp_path / "b")])
    assert f"6 of 24 tensors are from {first}" in capsys.readouterr().err


def test_first_weights_are_those_of_a_model_that_ships() -> None:
    begun = begin(weights="mien-tiny", backbone="seesaw_tiny", dim=128)
    crops = next(begun.batches()).clean
    with torch.inference_mode():
        x = normalize(crops, begun.device, torch.contiguous_format)
        found = F.normalize(begun.network.eval()(x))
    expected = torch.from_numpy(load("mien-tiny").embedder(crops))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_the_average_is_what_is_kept(tmp_path: Path) -> None:
    last = train(toy.config(ema=0.5, steps=3), tmp_path, lambda entry: None)
    kept = checkpoint.load(last)
    now = {k.removeprefix("network."): v for k, v in kept.state.items() if "network." in k}
    assert now.keys() == kept.weights.keys()
    assert not torch.equal(now["stem.0.weight"], kept.weights["stem.0.weight"])


def test_the_speed_is_the_present_one() -> None:
    speed = loop.Speed(0, 0)
    assert speed.at(10, 1000) == 1 / 100  # busy for ten steps
    for step in range(20, 120, 10):
        found = speed.at(step, 1000 + 2 * (step - 10))
    assert found == 1 / 2


def test_parts_of_a_step_are_the_step() -> None:
    def learned(accumulate: int) -> dict[str, Any]:
        one = begin(accumulate=accumulate)
        network: Any = one.network
        for layers in (network.stem, *network.blocks, network.head):
            for name, layer in layers.named_children():
                if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
                    setattr(layers, name, torch.nn.Identity())  # it would see one part at a time
        one.pictures.labels = one.pictures.labels.clip(0)  # parts have their own means
        batches = one.batches()
        one.step([next(batches) for _ in range(accumulate)])
        state: dict[str, Any] = one.network.state_dict()
        return state

    whole, parts = learned(1), learned(3)
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-4, atol=1e-6)


def test_the_rate_of_every_step() -> None:
    config = toy.config(steps=None, epochs=16, batch=10, lr=0.1)
    rates = [learning_rate(config, step, 100) for step in range(160)]
    assert rates[:80] == [0.1] * 80
    assert rates[80:120] == pytest.approx([0.01] * 40)
    assert rates[120:140] == pytest.approx([0.001] * 20)
    assert rates[140:] == pytest.approx([0.0001] * 20)
    config = toy.config(schedule="cosine", warmup=4, steps=40, lr=1.0, block_steps=10)
    rates = [learning_rate(config, step, 100) for step in range(50)]
    assert max(rates[:10]) < config.block_lr
    assert rates[10] == 0.25
    assert rates[30] == pytest.approx(0.5)
    assert rates[49] < 0.01


def test_the_three_groups_of_weight_decay() -> None:
    network = BACKBONES["seesaw_shuffle"]()
    optimizer = network_optimizer(toy.config(), network, 0)
    decays = {
        id(parameter): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert len(decays) == len(list(network.parameters()))
    last = network.head[-2].weight
    for parameter in network.parameters():
        expected = 4e-4 if parameter is last else 4e-5 if parameter.dim() > 1 else 0
        assert decays[id(parameter)] == expected


def test_batches_are_the_same_for_any_number_of_loaders(toys: str) -> None:
    pictures = Shards(toys)
    batches = Batches(pictures, 12, (("flip", 0.5), ("blur", 0.5)), seed=3)
    alone = list(batches.load(3, 7, workers=0))
    helped = list(batches.load(3, 7, workers=2))
    assert len(alone) == 4
    for one, other in zip(alone, helped, strict=True):
        np.testing.assert_array_equal(one.seen, other.seen)
        np.testing.assert_array_equal(one.labels, other.labels)
    seen = [batch.labels for batch in batches.load(0, 5, workers=0)]
    assert sorted(np.concatenate(seen)) == sorted(pictures.labels)  # an epoch sees each once


def verification_set(path: Path, toys: str) -> str:
    """Pairs of the toys, as InsightFace's files have them."""
    pictures = Shards(toys)
    pairs = [(a, b) for a in range(20) for b in range(20, 30)]
    images = [pictures.images(np.array([index]))[0] for pair in pairs for index in pair]
    path.write_bytes(pickle.dumps((images, [a % 6 == b % 6 for a, b in pairs])))
    return str(path)


def test_sets_are_measured_meanwhile_and_the_best_is_kept(toys: str, tmp_path: Path) -> None:
    settings = {"validate": (verification_set(tmp_path / "toys.bin", toys),), "keep": "best,2"}
    out = tmp_path / "run"
    log = run(toy.config(**settings, lr=0.05, ema=0.5, save_every=4), out)
    accuracies = {
        entry["step"]: entry["validation"]["toys"] for entry in log if "validation" in entry
    }
    assert list(accuracies) == [5, 10, 15, 20]
    assert accuracies[20] > 0.9  # by their colours
    record = json.loads((out / "run.json").read_text())
    assert record["results"]["validation"]["toys"] == accuracies[20]
    best = checkpoint.load(out / "best.safetensors")
    assert best.trained["step"] == max(accuracies, key=accuracies.__getitem__)
    kept = sorted(path.name for path in out.glob("step-*"))
    assert kept == ["step-000016.safetensors", "step-000020.safetensors"]
    last = checkpoint.load(out / "last.safetensors").weights
    again = checkpoint.load(out / kept[-1])
    assert again.state == {}
    assert all(torch.equal(again.weights[name], value) for name, value in last.items())
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = reading.EventAccumulator(str(out / "tensorboard")).Reload()
    shown = {event.step: event.value for event in board.Scalars("toys/accuracy")}
    assert shown == pytest.approx(accuracies)
    assert {"toys/threshold", "toys/EER"} <= set(board.Tags()["scalars"])
    assert [event.step for event in board.Images("toys/ROC")] == [5, 10, 15, 20]


def test_a_list_of_pairs_is_measured_too(demo_photos: Path, tmp_path: Path) -> None:
    for name, photo in (("O/O_0001", "obama"), ("O/O_0002", "obama2"), ("B/B_0001", "biden")):
        path = tmp_path / "images" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(demo_photos / f"{photo}.jpg", path)
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("2\nO 1 2\nO 2 1\nO 1 B 1\nO 2 B 1\n")
    log = run(toy.config(steps=5, validate=(str(pairs),)), tmp_path / "run")
    assert 0 <= log[-1]["validation"]["pairs"] <= 1


def test_two_ranks_go_on_as_two(tmp_path: Path) -> None:
    """What a rank has loaded is what it goes on training."""
    for out, steps in (("straight", (20,)), ("resumed", (10, 20))):
        for total in steps:
            process = start(2, tmp_path / out, **SHARDED | {"steps": total})
            err = finish(process)
            assert process.returncode == 0, err
    straight, resumed = (logged(tmp_path / out) for out in ("straight", "resumed"))
    assert resumed[-1]["loss"] == pytest.approx(straight[-1]["loss"], rel=1e-5)


def test_tensorboard_has_every_figure(tmp_path: Path) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = run(toy.config(), tmp_path, stop_at=20)  # also of a run that is interrupted
    board = reading.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    shown = {event.step: event.value for event in board.Scalars("loss")}
    assert shown == pytest.approx(losses(log))


@pytest.mark.parametrize(
    ("net", "depth", "expected"),
    [("seesawFaceNet", 50, "seesaw_shuffle"), ("ir_se", 100, "ir_se_100"), ("toy", 50, "toy")],
)
def test_the_originals_flags_keep_their_meaning(net: str, depth: int, expected: str) -> None:
    found = parsed(f"-d data -net {net} -depth {depth} -b 64 -lr 0.05 -e 4 -w 2 --milestones 2,3")
    assert found == TrainConfig(
        "data", expected, batch=64, lr=0.05, epochs=4, workers=2, milestones=(2, 3)
    )


def parsed(line: str) -> TrainConfig:
    """The configuration that a command line says."""
    app = typer.Typer()
    app.command()(command.train)
    with typer.main.get_command(app).make_context("train", line.split()) as context:
        said = command.said(context)
    return command.configured(said, context.params["config"], context.params["depth"])


def test_a_learning_rate_and_a_batch_are_found_by_command(
    toys: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["train", "-d", toys, "-net", "toy", "--dim", "8", "-b", "12", "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match="0"):
        main([*line, "--find-lr", "--scale", "8", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert 1e-6 < found["suggested"] < 10
    assert Path(found["picture"]).read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit, match="0"):
        main([*line, "--find-batch", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["suggested"] in [trial["batch"] for trial in found["trials"]]


def test_a_run_is_announced_when_nothing_is_left_to_refuse(
    toys: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["train", "-d", toys, "-net", "toy", "--dim", "8", "-b", "12", "--steps", "1"]
    line += ["--precision", "float32", "--channels-first", "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit, match="2"):
        main([*line, "--validate", "gone.bin"])
    (refused,) = capsys.readouterr().err.splitlines()
    assert "gone.bin" in refused
    with pytest.raises(SystemExit, match="0"):
        main(line)
    assert capsys.readouterr().err.startswith("training toy into")


def test_one_rank_tells_the_learning_rate(
    toys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["train", "-d", toys, "-net", "toy", "--dim", "8", "-b", "12", "--scale", "8"]
    for rank, lines in (("1", 0), ("0", 1)):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit, match="0"):
            main([*line, "--find-lr", "--out", str(tmp_path)])
        assert len(capsys.readouterr().out.splitlines()) == lines
        assert (tmp_path / "lrs.png").exists() == bool(lines)


# Mistakes, and what fails.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "resnet"}, "no network 'resnet'; use one of: mobileface"),
        ({"loss": "triplet"}, "no loss 'triplet'; use one of: softmax"),
        ({"loss": "none"}, "--loss none needs something else to learn from"),
        ({"loss": "softmax", "margin": 0.3}, "softmax has no margin"),
        ({"block_steps": 5}, "--block-steps distils a teacher"),
        ({"optimizer": "lion"}, "--optimizer must be one of sgd, adamw, not 'lion'"),
        ({"augment": "flip,rain"}, "no augmentation 'rain'"),
        ({"augment": "flip:2"}, "the chance of flip is '2'"),
        ({"batch": 10, "accumulate": 4}, "a batch of 10 cannot be divided into 4 equal parts"),
        ({"device": "abacus"}, "there is no device 'abacus'"),
        ({"device": "cuda:99"}, "there is no device 'cuda:99'"),
        ({"weights": "gone.safetensors"}, "gone.safetensors"),
        ({"validate": ("gone.bin",)}, "gone.bin is not a set of pairs"),
        ({"clip": -5.0}, "--clip must be a number above 0, not -5.0"),
        ({"margin": math.nan}, "--margin must be a number at least 0 and below 3.15, not nan"),
        ({"momentum": -1.0}, "--momentum must be a number at least 0 and below 1, not -1.0"),
        ({"weight_decay": -1.0}, "--weight-decay must be a number at least 0, not -1.0"),
        ({"validate_every": -1.0}, "--validate-every must be a number above 0, not -1.0"),
        ({"negative_sample_rate": 0.0}, "--negative-sample-rate must be a number above 0 and at"),
        ({"milestones": (8.0, -1.0)}, "--milestones must be a number above 0, not -1.0"),
        ({"lr": math.inf}, "--lr must be a number above 0, not inf"),
        ({"steps": 1.5}, "--steps must be a whole number at least 1, not 1.5"),
        ({"keep": "worst"}, "--keep takes best, a number, or both as in best,3, not 'worst'"),
        ({"keep": "best,-3"}, "--keep takes best, a number, or both as in best,3, not 'best,-3'"),
        ({"mixup": 1.0, "teacher": "x"}, "a teacher does not see what is mixed: give --targets"),
        ({"keep": "best"}, "--keep best needs something to measure: give --validate too"),
        ({"compile": "yes"}, "--compile must be true or false, not 'yes'"),
    ],
)
def test_mistakes_claim_no_folder(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(MienError, match=message):
        run(toy.config(**settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_holds_one_run(tmp_path: Path) -> None:
    run(toy.config(steps=5), tmp_path)
    with pytest.raises(BadInput, match="holds a run with --seed 0, not 1; choose another"):
        run(toy.config(steps=5, seed=1), tmp_path)
    with pytest.raises(BadInput, match="another process trains in"):
        train(toy.config(), tmp_path / "b", lambda _: print(run(toy.config(), tmp_path / "b")))


def test_a_run_goes_on_with_moved_data_more_steps_and_validation(toys: str, tmp_path: Path) -> None:
    straight = run(toy.config(steps=20), tmp_path / "straight")
    run(toy.config(steps=10), tmp_path / "run")
    moved = str(shutil.copytree(toys, tmp_path / "moved"))
    sets = verification_set(tmp_path / "toys.bin", toys)
    log = run(toy.config(steps=20, data=moved, validate=(sets,)), tmp_path / "run")
    assert losses(log).items() >= losses(straight).items()
    assert log[-1]["validation"].keys() == {"toys"}
    assert TrainConfig(**read_toml(tmp_path / "run" / "config.toml")).data == moved
    with pytest.raises(BadInput, match="already done 20 steps, more than 15; give more --steps"):
        run(toy.config(steps=15, data=moved), tmp_path / "run")
    other = toy.data(tmp_path / "other", seed=8)
    with pytest.raises(BadInput, match=r"a run with different data than .*other; choose another"):
        run(toy.config(steps=30, data=str(other)), tmp_path / "run")


def test_the_table_of_what_may_change_is_complete() -> None:
    text = (Path(__file__).parents[2] / "docs" / "train.md").read_text("utf-8")
    table = text.partition("## What may change when a run continues")[2].partition("| `--weights`")[
        0
    ]
    named = set(re.findall(r"`(--[a-z-]+)`", table))
    assert named == {
        flag(each.name) for each, _, _ in settings() if each.metadata["setting"].resume != FIXED
    }


def test_a_configuration_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('data = "a"\nlr = 0.05\nmilestones = [2.0, 3]\nbackbone = "ir_50"\n')
    found = parsed(f"--config {file} -lr 0.2 -d b")
    assert found == TrainConfig("b", "ir_50", lr=0.2, milestones=(2.0, 3))
    file.write_text("learning_rate = 1\n")
    with pytest.raises(
        BadInput, match=r"run\.toml sets 'learning_rate', which is not a setting of a run"
    ):
        parsed(f"--config {file} -d b")
    file.write_text("warmpu = 1\n")
    with pytest.raises(BadInput, match="did you mean 'warmup'"):
        parsed(f"--config {file} -d b")
    file.write_text("a = [")
    with pytest.raises(BadInput, match=r"run\.toml is not a TOML file"):
        parsed(f"--config {file} -d b")
    with pytest.raises(BadInput, match=r"gone\.toml cannot be read"):
        parsed("--config gone.toml -d b")


def test_a_checkpoint_of_another_network_is_named(tmp_path: Path) -> None:
    run(toy.config(steps=5), tmp_path)
    other = train(toy.config(steps=5, dim=4), tmp_path / "b", lambda entry: None)
    other.replace(tmp_path / "last.safetensors")
    with pytest.raises(BadModel, match="belongs to another network"):
        run(toy.config(steps=5), tmp_path)


def test_classes_that_are_gone_are_named(tmp_path: Path) -> None:
    run(toy.config(), tmp_path, stop_at=10)
    (head,) = tmp_path.glob("head-*")
    head.write_bytes(head.read_bytes()[:50])
    with pytest.raises(BadModel, match=r"the class weights of step 5 .* are missing or damaged"):
        run(toy.config(), tmp_path)


def test_classes_that_a_kill_has_left_of_more_ranks_are_not_taken(tmp_path: Path) -> None:
    config = toy.config(save_every=10, steps=40)
    run(config, tmp_path, stop_at=20)
    (tmp_path / "head-000020-1-of-2.safetensors").write_bytes(b"of a step that was not saved")
    run(config, tmp_path, stop_at=30)
    assert run(config, tmp_path)[-1]["step"] == 40


def test_a_loss_that_is_not_finite_stops_at_the_last_good_state(tmp_path: Path) -> None:
    with pytest.raises(RunStopped, match=r"not finite at step \d+ \(liarcface nan\)"):
        run(toy.config(lr=1e30, steps=30, save_every=1), tmp_path)
    kept = checkpoint.load(tmp_path / "last.safetensors")
    assert kept.trained["step"] >= 1


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    run(toy.config(), tmp_path, stop_at=10)
    before = (tmp_path / "last.safetensors").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(CannotWrite):
            run(toy.config(), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "last.safetensors").read_bytes() == before
    assert losses(run(toy.config(), tmp_path)) == losses(run(toy.config(), tmp_path / "b"))


def test_a_dead_loader_is_named(tmp_path: Path) -> None:
    def kill(entry: dict[str, Any]) -> None:
        for loader in multiprocessing.active_children():
            assert loader.pid
            os.kill(loader.pid, signal.SIGKILL)

    with pytest.raises(RunStopped, match="a process that loads pictures has died"):
        train(toy.config(workers=1, steps=200), tmp_path, kill)


@pytest.mark.parametrize(
    ("number", "ending"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_saves_the_step_that_is_done(
    tmp_path: Path, number: int, ending: type[BaseException]
) -> None:
    def interrupt(entry: dict[str, Any]) -> None:
        if entry["step"] == 10:
            os.kill(os.getpid(), number)

    config = toy.config(save_every=100)
    with pytest.raises(ending):
        train(config, tmp_path / "a", interrupt)
    assert checkpoint.load(tmp_path / "a" / "last.safetensors").trained["step"] == 10
    assert losses(run(config, tmp_path / "a")) == losses(run(config, tmp_path / "b"))


# Before a run.


def test_the_search_for_a_learning_rate() -> None:
    found = find_lr(toy.config(scale=8.0), steps=40)
    assert 1e-5 < found.suggested < 1
    assert len(found.lrs) == len(found.losses)
    assert list(found.lrs) == sorted(found.lrs)


@pytest.mark.parametrize("seed", range(5))
def test_the_learning_rate_is_found_under_noise(seed: int) -> None:
    """The loss falls by 1.5 around 1e-4 and climbs by 6 around 1e-2, as a small batch's does."""
    lrs = np.geomspace(1e-6, 10, 100)
    places = np.log10(lrs)
    losses = 25 - 1.5 / (1 + np.exp(-4 * (places + 4))) + 6 / (1 + np.exp(-4 * (places + 2)))
    noise = np.random.default_rng(seed).normal(0, 1.2, 100)
    found = sweep(lrs.tolist(), (losses + noise).tolist())
    assert 1e-3 / 1.5 < found.suggested < 1e-3 * 1.5


def test_where_no_loss_climbs_the_highest_learning_rate_counts() -> None:
    lrs = np.geomspace(1e-6, 10, 50).tolist()
    assert sweep(lrs, np.linspace(9, 5, 50).tolist()).suggested == pytest.approx(1)


def test_a_loss_that_only_rises_suggests_nothing() -> None:
    with pytest.raises(BadInput, match="did not fall"):
        sweep(np.geomspace(1e-6, 10, 50).tolist(), np.linspace(5, 9, 50).tolist())


def test_the_search_for_a_batch_ends() -> None:
    trials = list(find_batch(toy.config(), least=8))
    assert [trial.batch for trial in trials] == [8 * 2**k for k in range(len(trials))]
    assert all(trial.photos_per_second > 0 for trial in trials)


def test_a_first_batch_that_does_not_fit_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hungry(toy.Toy):
        def __init__(self, *, dim: int) -> None:
            super().__init__(dim=dim)
            self.head.register_forward_hook(self._eat)

        def _eat(self, *_: object) -> None:
            raise torch.OutOfMemoryError

    monkeypatch.setitem(BACKBONES, "hungry", Hungry)
    with pytest.raises(BadInput, match="a batch of 8 does not fit"):
        list(find_batch(toy.config(backbone="hungry"), least=8))


def test_a_batch_is_looked_for_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(BadInput, match="torchrun has started 4"):
        list(find_batch(toy.config()))


def test_the_fastest_precision_is_found_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best, tried = Precision(channels_last=True, float32=("1x1",)), []

    def choose(network: object, batch: int, *_: object, **__: object) -> Precision:
        tried.append(batch)
        return best

    monkeypatch.setattr(machine, "_place", lambda: tmp_path / "machine.json")
    monkeypatch.setattr(running, "fastest", choose)
    for batch in (16, 16, 8):
        assert begin(batch=batch, precision=None, channels_last=None).precision == best
    assert tried == [16, 8]


def test_pictures_are_mixed_and_what_they_teach_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (part,) = zip(begin().batches(), range(1), strict=False)
    plain, mixed = begin(), begin(mixup=0.4)
    alone = float(plain._losses(part[0])["liarcface"])
    monkeypatch.setattr(
        running, "mixing", lambda _, count, step: (1.0, np.arange(count)[::-1].copy())
    )
    assert float(mixed._losses(part[0])["liarcface"]) == pytest.approx(alone, rel=1e-5)
    monkeypatch.setattr(
        running, "mixing", lambda _, count, step: (0.0, np.arange(count)[::-1].copy())
    )
    assert float(mixed._losses(part[0])["liarcface"]) == pytest.approx(alone, rel=1e-4)
    monkeypatch.undo()
    log = run(toy.config(mixup=0.4, steps=60), tmp_path)
    assert log[-1]["loss"] < log[0]["loss"]
    assert mixing(mixed.config, 12, 5)[0] == mixing(mixed.config, 12, 5)[0]
    assert mixing(mixed.config, 12, 5)[0] != mixing(mixed.config, 12, 6)[0]


def test_trackers_are_told_what_the_log_says(
    toys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[Any, Any]] = []

    def begun(of: Any, known: str | None, name: str) -> Any:
        told.append(("start", known or name))
        return of

    flow = SimpleNamespace(
        start_run=lambda run_id, run_name: begun(
            SimpleNamespace(info=SimpleNamespace(run_id="7f")), run_id, run_name
        ),
        log_params=lambda config: told.append(("config", config["backbone"])),
        log_metrics=lambda figures, step: told.append((step, figures)),
        end_run=lambda: told.append(("end", None)),
    )
    bees: Any = SimpleNamespace(
        id="b",
        init=lambda **given: begun(bees, given["id"], given["name"]),
        log=lambda figures, step: told.append((step, figures)),
        finish=lambda: told.append(("end", None)),
    )
    monkeypatch.setitem(sys.modules, "mlflow", flow)
    monkeypatch.setitem(sys.modules, "wandb", bees)
    sets = (verification_set(tmp_path / "toys.bin", toys),)
    for name, known in (("mlflow", "7f"), ("wandb", "b")):
        told.clear()
        out = tmp_path / name
        run(toy.config(track=(name,), validate=sets, steps=10), out)
        log = run(toy.config(track=(name,), validate=sets, steps=20), out)
        assert [what for what in told if what[0] == "start"] == [("start", name), ("start", known)]
        assert sum(what[0] == "end" for what in told) == 2
        losses = {step: figures["loss"] for step, figures in told if "loss" in (figures or ())}
        assert losses == {entry["step"]: entry["loss"] for entry in log}
        assert any("toys/TAR at FAR 0.1" in (figures or ()) for _, figures in told)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(BadInput, match="needs its package: pip install mlflow"):
        run(toy.config(track=("mlflow",)), tmp_path / "other")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("clip", [None, 5.0])
def test_half_precision_learns(precision: str, clip: float | None, tmp_path: Path) -> None:
    log = run(toy.config(precision=precision, steps=60, lr=0.05, clip=clip), tmp_path)
    assert log[-1]["loss"] < 0.95 * log[0]["loss"]


# Many ranks.


def start(world: int, out: Path, **settings: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, str(Path(toy.__file__)), str(world), str(out)),
            json.dumps(toy.USUAL | settings),
        ],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def finish(process: subprocess.Popen[str]) -> str:
    try:
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    return err


# At a higher learning rate ten steps amplify rounding to more than the tests allow.
SHARDED = {"negative_sample_rate": 1.0, "clip": 5.0, "steps": 10, "lr": 2e-3, "loss": "adaface"}


@pytest.fixture(scope="module")
def on_many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Path]]:
    folders = {world: tmp_path_factory.mktemp(f"world-{world}") for world in (2, 4)}
    for world, out in folders.items():
        process = start(world, out, **SHARDED)
        err = finish(process)
        assert process.returncode == 0, err
    yield folders


@pytest.mark.parametrize("world", [2, 4])
def test_many_ranks_learn_the_same(world: int, on_many: dict[int, Path], tmp_path: Path) -> None:
    (alone,) = run(toy.config(**SHARDED), tmp_path)
    (together,) = logged(on_many[world])
    assert together["loss"] == pytest.approx(alone["loss"], rel=1e-5)
    one = checkpoint.load(tmp_path / "last.safetensors")
    many = checkpoint.load(on_many[world] / "last.safetensors")
    for name, tensor in one.weights.items():
        torch.testing.assert_close(many.weights[name], tensor, rtol=1e-5, atol=1e-5)
    # The gradients, as the momentum has summed them.  Those of what a batch norm takes away again
    # are nothing but rounding, so that the error is measured against all of them.
    alone_gradients, gradients = (
        torch.cat([state.state[name].flatten() for name in one.state]) for state in (one, many)
    )
    assert (gradients - alone_gradients).norm() < 1e-5 * alone_gradients.norm()
    assert len(list(on_many[world].glob("head-*"))) == world


def test_a_run_of_four_goes_on_alone(on_many: dict[int, Path], tmp_path: Path) -> None:
    for path in on_many[4].iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    longer = replace(toy.config(**SHARDED), steps=20)
    alone = run(longer, tmp_path / "alone")
    went_on = run(longer, tmp_path)
    assert went_on[-1]["loss"] == pytest.approx(alone[-1]["loss"], rel=1e-3)


def test_ranks_stay_the_same_where_a_gradient_of_one_is_infinite(tmp_path: Path) -> None:
    process = start(2, tmp_path, **SHARDED | {"steps": 6}, precision="fp16", overflows_at=3)
    err = finish(process)
    assert process.returncode == 0, err
    one, other = (torch.load(tmp_path / f"rank-{rank}.pt") for rank in range(2))
    assert one["scale"] == other["scale"] < 65536
    for name in dict(toy.Toy().named_parameters()):
        assert torch.equal(one[name], other[name]), name


def test_when_a_rank_dies_the_others_say_so_and_the_run_goes_on(tmp_path: Path) -> None:
    began = time.monotonic()
    process = start(2, tmp_path, dies_at=7, **SHARDED, save_every=5)
    err = finish(process)
    assert process.returncode != 0
    assert time.monotonic() - began < 60
    assert "RunStopped: another process of the run has died; give the same command" in err
    assert checkpoint.load(tmp_path / "last.safetensors").trained["step"] == 5
    process = start(2, tmp_path, **SHARDED, save_every=5)
    assert finish(process) is not None
    assert process.returncode == 0
    assert logged(tmp_path)[-1]["step"] == 10


# A teacher.


@pytest.fixture
def teacher(data: Path) -> str:
    return str(data / "teacher" / "mobilefacenet-ms1m.onnx")


@pytest.mark.parametrize("network", ["seesaw_share", "seesaw_tiny"])  # as many blocks, and fewer
def test_a_network_learns_from_a_teacher_block_by_block_and_then_as_a_whole(
    network: str, teacher: str, tmp_path: Path
) -> None:
    config = toy.config(
        backbone=network,
        dim=128,
        loss="none",
        teacher=teacher,
        batch=4,
        block_steps=20,
        steps=1,
        optimizer="adamw",
        lr=1e-3,
    )
    log = run(config, tmp_path)
    assert [entry["stage"] for entry in log] == ["blocks", "blocks", "whole"]
    assert log[1]["loss"] < log[0]["loss"]
    assert log[2].keys() >= {"features", "embedding", "cosine", "relations"}


def test_a_teacher_of_other_blocks_still_teaches_who_resembles_whom(
    teacher: str, tmp_path: Path
) -> None:
    log = run(toy.config(teacher=teacher, steps=1, teacher_weight=0.5), tmp_path)
    assert log[0].keys() >= {"liarcface", "relations"}
    assert "cosine" not in log[0]
    with pytest.raises(BadInput, match="toy with 8 dimensions has different blocks from"):
        run(toy.config(teacher=teacher, block_steps=5), tmp_path / "blocks")


def test_a_block_learns_from_the_one_that_is_as_far_on() -> None:
    large, small = (64, 28, 28), (128, 14, 14)
    theirs = [large] * 5 + [small] * 3
    assert match_blocks(theirs, theirs) == tuple(range(8))
    assert match_blocks([large] * 2 + [small], theirs) == (2, 4, 7)
    assert match_blocks([small] * 4, theirs) == (5, 6, 7, 7)
    assert match_blocks([large, (96, 14, 14)], theirs) == ()


def test_the_teacher_shows_every_block(teacher: str) -> None:
    taught = Teacher(Path(teacher))(np.zeros((2, 112, 112, 3), np.uint8))
    shapes = [(64, 28, 28)] * 5 + [(128, 14, 14)] * 7 + [(128, 7, 7)] * 3
    assert [tuple(feature.shape[1:]) for feature in taught.features] == shapes
    assert taught.embeddings.shape == (2, 128)


def test_not_a_teacher(tmp_path: Path) -> None:
    path = tmp_path / "teacher.onnx"
    path.write_text("no network")
    with pytest.raises(BadModel, match="not an ONNX file"):
        Teacher(path)
    with pytest.raises(BadModel):
        Teacher(tmp_path / "missing.onnx")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "sum", [x], [y])
    path.write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(BadModel, match="no residual blocks"):
        Teacher(path)
