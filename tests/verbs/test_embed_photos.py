"""Photos to Parquet: a row a photo, whoever is killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import children
import numpy as np
import pytest
from fakes import FakeModel, save_photo

from mien import images
from mien.cli import main
from mien.errors import BadInput, MissingExtra
from mien.recognition.model import Model
from mien.verbs import embed_photos as module
from mien.verbs.embed_photos import Embedded, embed_photos, loader

pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")

THREE = "9.41\u202fPM.png"  # as macOS calls a screenshot


def counts(done: Embedded) -> tuple[int, ...]:
    return done.photos, done.new, done.faces, done.errors


def fake(threads: int) -> Model:
    return FakeModel()


class Slow(FakeModel):
    """So that there is time to be killed."""

    def detect(self, image):  # type: ignore[no-untyped-def]
        time.sleep(0.005)
        return super().detect(image)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 30 photos of a face, one without, one of three, one that is none."""
    folder = tmp_path / "photos"
    for number in range(30):
        save_photo(folder / f"{number % 3}/{number}.png", number)
    save_photo(folder / "none.png", 50, faces=0)
    save_photo(folder / THREE, 51, faces=3)
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART", 4)


def test_each_photo_has_a_row_with_its_largest_face_or_a_reason(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.parquet"
    assert counts(embed_photos(str(photos), out, fake)) == (33, 33, 31, 2)
    rows = {Path(row["path"]).name: row for row in pq.read_table(out).to_pylist()}
    assert len(rows) == 33
    assert rows[THREE]["faces"] == 3
    np.testing.assert_allclose(np.linalg.norm(rows["7.png"]["embedding"]), 1, atol=1e-5)
    assert rows["none.png"]["error"] == "no face was found in it"
    assert "broken.jpg" in rows["broken.jpg"]["error"]
    assert rows["7.png"]["error"] is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "photos"]
    assert out.stat().st_mode & 0o777 == 0o600  # vectors tell who somebody is


def test_the_first_without_a_vector_are_told(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = embed_photos(str(photos), tmp_path / "a.parquet", fake).first_errors
    assert {path.name: reason for path, reason in told}["none.png"] == "no face was found in it"
    monkeypatch.setattr(module, "NAMED", 1)
    monkeypatch.setattr(module, "loader", lambda name, detector: fake)
    with pytest.raises(SystemExit, match="3"):
        main(["embed", str(photos), "--out", str(tmp_path / "b.parquet")])
    (named, more, count) = capsys.readouterr().err.splitlines()
    assert "none.png" in named or "broken.jpg" in named
    assert "skipped 1 more: the column error of" in more
    assert count == "skipped 2 photos"


def test_the_next_run_adds_what_is_new(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.parquet"
    embed_photos(str(photos), out, fake)
    before = pq.read_table(out).to_pylist()
    save_photo(photos / "new.png", 99)
    assert counts(embed_photos(str(photos), out, fake)) == (34, 1, 32, 2)
    assert pq.read_table(out).to_pylist()[:33] == before


def test_what_could_not_be_read_is_tried_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = images.read_bytes, tmp_path / "v.parquet"
    failing = sorted(photos.rglob("*.png"))[0]

    def read_bytes(path: str | Path) -> bytes:
        if Path(path) == failing:
            raise BadInput(f"{path} cannot be read (Input/output error): check who may read it")
        return whole(path)

    save_photo(photos / "not \udcff text.png", 1)
    monkeypatch.setattr(images, "read_bytes", read_bytes)
    first = embed_photos(str(photos), out, fake)
    assert [path.name for path, _ in first.unlisted] == ["not \udcff text.png"]
    assert str(failing) in {str(path) for path, _ in first.first_errors}
    monkeypatch.setattr(images, "read_bytes", whole)
    second = embed_photos(str(photos), out, fake)
    assert (second.new, second.photos) == (1, first.photos)
    assert second.errors == first.errors - 1
    monkeypatch.setattr(images, "readers", lambda: "a newer mien")
    third = embed_photos(str(photos), out, fake)
    assert (third.photos, third.faces) == (second.photos, second.faces)
    assert third.new <= second.errors
    assert embed_photos(str(photos), out, fake).new == 0


def test_a_bucket_is_read_like_a_folder(photos: Path, tmp_path: Path) -> None:
    embed_photos(photos.as_uri(), tmp_path / "bucket.parquet", fake)
    embed_photos(str(photos), tmp_path / "folder.parquet", fake)
    vectors = [
        {row["sha256"]: row["embedding"] for row in pq.read_table(tmp_path / name).to_pylist()}
        for name in ("bucket.parquet", "folder.parquet")
    ]
    assert vectors[0] == vectors[1]


@pytest.mark.parametrize("after", [0.03, 0.1, 0.15, 0.2])
def test_a_kill_loses_no_photo_and_doubles_none(photos: Path, tmp_path: Path, after: float) -> None:
    out = tmp_path / "a.parquet"

    def work() -> None:
        module.PART = 4
        embed_photos(str(photos), out, lambda _: Slow())

    for _ in range(20):
        (child,) = children.start(work)
        child.join(after)
        if child.exitcode is not None:
            break
        assert child.pid
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    assert embed_photos(str(photos), out, fake).photos == 33
    names = pq.read_table(out).column("path").to_pylist()
    assert len(names) == len(set(names)) == 33


def test_a_kill_after_the_parts_were_joined_doubles_none(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.parquet"
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda _: None)
        embed_photos(str(photos), out, fake)
    assert counts(embed_photos(str(photos), out, fake)) == (33, 0, 31, 2)


def test_refuses_another_models_file_and_what_is_none(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.parquet"
    embed_photos(str(photos), out, fake)
    with pytest.raises(BadInput, match="made with the model mean-colours"):
        embed_photos(str(photos), out, lambda _: FakeModel("other"))
    out.write_bytes(b"something else")
    with pytest.raises(BadInput, match="not a Parquet file"):
        embed_photos(str(photos), out, fake)
    with pytest.raises(BadInput):
        embed_photos("s3x://nowhere", out, fake)


def test_several_workers_without_ray_say_what_to_install(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install .*'ray\[data\]"):
        embed_photos(str(photos), tmp_path / "a.parquet", fake, workers=2)


def test_a_killed_worker_of_ray_loses_no_photo(
    photos: Path, tmp_path: Path, model_file: Path
) -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed")
    killed = tmp_path / "killed"
    plain = loader(model_file, "whole")

    def dies_once(threads: int) -> Model:
        model = plain(threads)
        detect = model.detector

        def dying(image):  # type: ignore[no-untyped-def]
            parts = list((tmp_path / "a.parquet.parts").glob("*.parquet"))
            if len(parts) >= 3 and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return detect(image)

        return Model(dying, model.embedder)

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        done = embed_photos(str(photos), tmp_path / "a.parquet", dies_once, workers=2)
    finally:
        ray.shutdown()
    assert killed.exists()
    assert (done.photos, done.new) == (33, 33)
    names = pq.read_table(tmp_path / "a.parquet").column("path").to_pylist()
    assert len(names) == len(set(names)) == 33
