"""The benchmarks run, say what cannot be done, and document what they print."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Result, Run
from fakes import save_photo

from benchmarks.__main__ import PARTS, main
from benchmarks.embed import SIDE
from mien import images
from mien.cli.options import DEFAULT_MODEL

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(bare: Run) -> Run:
    """Runs a benchmark in an empty folder."""

    def run(*arguments: object) -> Result:
        return bare(*arguments, of=main)

    return run


def test_without_a_name_they_are_listed(benchmark: Run) -> None:
    result = benchmark()
    assert result.code == 2
    assert all(name in result.out for name in PARTS)
    assert benchmark("--help").code == 0


@pytest.mark.parametrize("name", PARTS)
def test_each_has_help(benchmark: Run, name: str) -> None:
    pytest.importorskip("torch")
    result = benchmark(name, "--help")
    assert (result.code, result.err) == (0, "")
    assert "--json" in result.out


def test_wrong_usage_is_one_sentence_and_2(benchmark: Run) -> None:
    result = benchmark("embed", "--batch", "x")
    assert (result.code, result.out) == (2, "")
    assert result.err.endswith("see python -m benchmarks embed --help\n")
    assert "gone does not exist" in benchmark("detect", "gone").err


def test_train(benchmark: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from benchmarks.train import Rate

    once = ("train", "seesaw_tiny", "--batch", 2, "--turns", 1)
    document = benchmark(*once, "--json").document
    assert (document["batch"], document["threads"], document["turns"]) == (2, 1, 1)
    assert {rate["network"] for rate in document["rates"]} >= {"seesaw_tiny"}
    wrong = benchmark("train", "no_such_network")
    assert wrong.code == 2
    assert "there is no network 'no_such_network'" in wrong.err
    rates = [Rate(**rate) for rate in document["rates"]]  # once more would take seconds
    monkeypatch.setattr("benchmarks.train.rates", lambda networks, **settings: rates)
    assert "seesaw_tiny" in benchmark(*once).out


def test_detect(benchmark: Run, demo_photos: Path) -> None:
    result = benchmark("detect", demo_photos / "t1.jpg", "--json")
    assert result.code == 0
    assert result.document["counts"]["mtcnn"] == {"photos": 1, "faces": 6, "missed": []}
    assert "mien" in result.document["counts"]
    nothing = benchmark("detect")
    assert nothing.code == 2
    assert "nothing to look at" in nothing.err


def test_detect_on_data_sets(benchmark: Run, tmp_path: Path) -> None:
    astronaut = images.read(ROOT / "docs" / "astronaut.jpg")[30:210, 130:310]
    folder = tmp_path / "fairface"
    (folder / "val").mkdir(parents=True)
    for i in (1, 2):
        images.write(folder / "val" / f"{i}.png", astronaut)
    lines = "\n".join(f"val/{i}.png,30-39,Female,White" for i in (1, 2))
    (folder / "labels.csv").write_text(f"file,age,sex,group\n{lines}\n")
    parts = ("--part", "everyday", "--part", "false", "--part", "scenes", "--limit", "2")
    result = benchmark("detect", "--data", tmp_path, *parts, "--json")
    assert result.code == 0
    rows = {row["what"]: row for row in result.document["rows"]}
    assert rows["no face in 2 of FairFace val"]["mien"] == "0.00 %"
    assert rows["found, turned by 180 degrees"]["mien"] == "100.0 %"
    assert rows["found, turned by 180 degrees"]["mtcnn"] != "100.0 %"
    assert "found, 16 pixels in 2 scenes" in rows
    assert "is no part" in benchmark("detect", "--data", tmp_path, "--part", "x").err


def test_embed(benchmark: Run, model_file: Path) -> None:
    once = ("--batch", 2, "--threads", 1, "--turns", 1)
    (speed,) = benchmark("embed", model_file, *once, "--json").document["speeds"]
    assert (speed["model"], speed["batch"], speed["threads"]) == (model_file.stem, 2, 1)
    assert speed["ratio"] == 1
    assert 0 < speed["fastest"] == speed["milliseconds"] == speed["slowest"]
    assert model_file.stem in benchmark("embed", model_file, *once).out

    assert speed["macs"] is None  # it convolves nothing
    (entry,) = benchmark("embed", model_file, *once, "--profile", "--json").document["accounts"]
    assert sum(entry["parts"].values()) == pytest.approx(1)

    wrong = benchmark("embed", model_file, "--beside", model_file, *once)
    assert wrong.code == 2
    assert "does not take one float32 picture" in wrong.err


def test_what_is_reached_is_a_crops_in_any_batch(
    benchmark: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.embed._milliseconds", lambda run, crops: 2.0)
    batches = ("--batch", 1, "--batch", 8, "--threads", 1, "--turns", 1, "--json")
    one, eight = benchmark("embed", DEFAULT_MODEL, *batches).document["speeds"]
    assert one["reached"] == eight["reached"] == pytest.approx(one["macs"] / SIDE**3)


def test_photo(benchmark: Run, model_file: Path, demo_photos: Path) -> None:
    alone = (demo_photos / "t1.jpg", "--model", model_file, "--alone", "--turns", 1)
    (way,) = benchmark("photo", *alone, "--size", "640x480", "--json").document["ways"]
    assert (way["name"], way["width"], way["height"]) == ("mien", 640, 480)
    assert (way["photos"], way["faces"], way["missed"]) == (1, 6, 0)
    assert sum(way["stages"].values()) == pytest.approx(way["milliseconds"])
    assert way["ratio"] is None

    wrong = benchmark("photo", *alone, "--size", "640")
    assert wrong.code == 2
    assert "is no size" in wrong.err


def test_cluster(benchmark: Run, model_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="other ways to group faces need the extra peers")
    for person in range(12):
        for photo in range(4):
            file = tmp_path / f"people/{person}/{photo}.png"
            save_photo(file, person, shade=8 * photo, side=128)
    fast = ("people", "--model", model_file, "--detector", "whole", "--seeds", "2")
    drawn = ("--faces", "20", "--faces", "60")
    ways = benchmark("cluster", *fast, *drawn, "--json").document["ways"]
    names = ["mien", "DBSCAN", "Chinese whispers", "HDBSCAN"]
    assert [(way["faces"], way["way"]) for way in ways] == [
        (size, name) for size in (20, 60) for name in names
    ]
    assert all(0 <= way["mean"]["f"] <= 1 for way in ways)
    assert "PURITY" in benchmark("cluster", *fast, "--no-others", "--last", "6").out


def test_openset(benchmark: Run, model_file: Path, tmp_path: Path) -> None:
    for person in range(20):
        for photo in range(10):
            save_photo(tmp_path / f"people/{person}/{photo}.png", person, shade=3 * photo)
    fast = ("people", "--model", model_file, "--detector", "whole", "--seeds", "2")
    document = benchmark("openset", *fast, "--json").document
    assert (document["people"], document["photos"]) == (20, 200)
    hundredth, thousandth = (
        one for one in document["combinations"] if one["combination"] == "mean"
    )
    assert hundredth["tpir"] > 0.9
    assert thousandth["tpir"] is None  # 100 photos of strangers do not tell
    assert "z-norm" in benchmark("openset", *fast).out
    known = benchmark("openset", *fast, "--strangers", "people", "--json").document
    for named, apart in zip(known["strangers"], document["strangers"], strict=True):
        assert named["measured"] > apart["measured"] + 0.1  # half of them are enrolled


def test_the_slim_options(benchmark: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from benchmarks import networks
    from mien.training.backbones.slim import OPTIONS

    time = networks.FaceTime(1, 1, 1, 1)  # to export a network and time it takes many seconds
    monkeypatch.setattr(networks, "face_times", lambda some, turns: dict.fromkeys(some, time))
    monkeypatch.setattr(networks, "OPTIONS", {"A1": OPTIONS["A1"]})
    first, option = benchmark("networks", "--slim", "--json").document["networks"]
    assert (first["name"], option["name"]) == ("seesaw_shuffle", "A1")
    assert option["arguments"] == {"filters": 32, "downsample": "conv"}
    assert option["macs"] > 2 * first["macs"]
    assert benchmark("networks", "--slim").out.splitlines()[2].startswith("A1 ")
