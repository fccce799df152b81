"""Videos and cameras on the command line."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import clips
import cv2
import pytest
from clips import av
from commands import Result, Run, is_a_sentence

from mien.cli import camera as camera_command
from mien.cli.video import _moment, clock
from mien.errors import BadInput, CannotWrite
from mien.images import write
from mien.recognition.detect import DETECTORS
from mien.types import Face, Image
from mien.video.read import Video

ANNA, BERT = 1, 2


@pytest.fixture
def mien(bare: Run, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command that takes patches for faces and knows Anna."""
    monkeypatch.setitem(DETECTORS, "blobs", lambda **_: clips.Blobs())
    fake = ("--model", model_file, "--detector", "blobs")

    def run(*arguments: object) -> Result:
        return bare(*arguments, *fake)

    write(tmp_path / "people/Anna/1.png", clips.picture((ANNA, 50, 50)))
    assert bare("enroll", "people", *fake).code == 0
    return run


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    pictures = [clips.picture((ANNA, 20 + n, 30), (BERT, 230 - n, 150)) for n in range(60)]
    return clips.write_clip(tmp_path / "clip.mp4", pictures, sound=True)


def test_photos_and_videos_are_mixed(mien: Run, clip: Path, tmp_path: Path) -> None:
    result = mien("identify", "people", clip, "--json", "--save", "out")
    assert result.code == 0, result.err
    document = result.document
    (photo,), (video,) = document["photos"], document["videos"]
    assert photo["faces"][0]["person"] == "Anna"
    assert (video["fps"], video["stills"], video["width"]) == (30, 60, 320)
    people = {one["person"]: one for one in video["sightings"]}
    assert people.keys() == {"Anna", None}
    assert (people["Anna"]["start"], people["Anna"]["stills"]) == (0, 60)
    assert people["Anna"]["end"] == pytest.approx(59 / 30, abs=2e-3)
    copy = Video(video["saved"])
    assert len(list(copy.stills())) == 60
    original = next(Video(clip).stills()).image().astype(int)
    assert abs(next(copy.stills()).image() - original).max() > 100  # there is a box
    with av.open(video["saved"]) as container:
        assert container.streams.audio


def test_a_line_for_each_sighting(mien: Run, clip: Path) -> None:
    result = mien("identify", clip, "--json-lines", "--start", "0:01", "--end", "1.5")
    *sightings, video = map(json.loads, result.out.splitlines())
    assert result.code == 0
    assert {one["person"] for one in sightings} == {"Anna", None}
    assert all(one["start"] == 1 and one["end"] == 1.5 for one in sightings)
    assert (video["stills"], video["sightings"]) == (16, 2)


def test_a_row_for_each_sighting(mien: Run, clip: Path) -> None:
    result = mien("identify", clip, "--stride", "10", "--max-size", "160")
    assert "0:00.0 to 0:02.0" in result.out
    assert {line.split()[0] for line in result.out.splitlines()} == {"PERSON", "Anna", "unknown"}


def test_a_damaged_video_is_3_and_one_that_is_none_is_skipped(
    mien: Run, clip: Path, tmp_path: Path
) -> None:
    data = bytearray(clips.write_clip(tmp_path / "a.mkv", [clips.picture()] * 90).read_bytes())
    (tmp_path / "a.mkv").write_bytes(data[: len(data) // 2])
    (tmp_path / "b.mp4").write_text("no video")
    result = mien("identify", "a.mkv", "b.mp4", clip, "--json")
    assert result.code == 3
    assert [one["path"] for one in result.document["skipped"]] == ["b.mp4"]
    videos = {Path(one["path"]).name: one for one in result.document["videos"]}
    assert "damaged from" in videos["a.mkv"]["broken"]
    assert "broken" not in videos["clip.mp4"]
    assert "a.mkv is damaged from" in result.err


def test_wrong_times_are_one_sentence(mien: Run, clip: Path) -> None:
    for times in (("--start", "2", "--end", "1"), ("--start", "soon")):
        result = mien("identify", clip, *times)
        assert (result.code, is_a_sentence(result.err)) == (2, True)
    assert mien("identify", clip, "--start", "60").code == 3


def test_a_copy_that_cannot_be_written_takes_no_answer_away(
    mien: Run, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mien.video.write import Writer

    told = mien("identify", clip, "--json").document["videos"]

    def full(*_: object, **how: object) -> None:
        raise CannotWrite("out/clip.mien.mp4 cannot be written (No space left on device)")

    for step in ("__init__", "write", "_finish"):
        with monkeypatch.context() as patch:
            patch.setattr(Writer, step, full)
            result = mien("identify", clip, "--save", "out", "--json")
        assert result.code == 3
        assert result.document["videos"] == told
        assert [one["path"] for one in result.document["skipped"]] == [str(clip)]
        assert not list(Path("out").glob("*"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1:30", 90), ("0:01:30.5", 90.5), ("0", 0)]
)
def test_times(text: str, seconds: float) -> None:
    assert _moment(text) == seconds
    assert _moment(clock(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "-1", "a", "1:2:3:4", "1:-2", "inf", "nan"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(BadInput, match="is not a time"):
        _moment(text)


class _Interrupted(clips.Blobs):
    """Sends a signal in the middle, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def __call__(self, image: Image) -> list[Face]:
        if self.pictures == 3:
            os.kill(os.getpid(), self._number)
        return super().__call__(image)


def test_a_camera_says_who_was_there(
    mien: Run, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = mien("camera", clip, "--json")
    assert result.code == 0
    assert {one["person"] for one in result.document["sightings"]} == {"Anna", None}
    lines = mien("camera", clip, "--no-window", "--seconds", "1").out.splitlines()
    assert len(lines) == 2
    for number, code in ((signal.SIGINT, 0), (signal.SIGTERM, 143)):
        monkeypatch.setitem(DETECTORS, "blobs", lambda n=number, **_: _Interrupted(n))
        stopped = mien("camera", clip, "--json")
        assert stopped.code == code
        assert all(one["end"] < 1.9 for one in stopped.document["sightings"])
        assert len(stopped.document["sightings"]) == 2


def test_a_window_shows_the_camera(mien: Run, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    monkeypatch.setattr(camera_command, "no_window", lambda: None)
    monkeypatch.setattr(camera_command, "_show", lambda image, title: titles.append(title))
    monkeypatch.setattr(camera_command, "_wanted", lambda: len(titles) < 3)
    closed = mien("camera", clip)
    assert (closed.code, len(titles)) == (0, 3)
    assert "frames per second" in titles[-1]
    assert len(closed.out.splitlines()) == 2  # who was there when it was closed
    monkeypatch.setattr(camera_command, "no_window", lambda: "there is no display")
    refused = mien("camera", clip)
    assert refused.code == 2
    assert "no display" in refused.err
    assert "mien serve" in refused.err
    assert is_a_sentence(refused.err)


@pytest.mark.parametrize(
    ("key", "visible", "wanted"),
    [(-1, 1.0, True), (-1, 0.0, False), (-1, cv2.error("gone"), False), (ord("q"), 1.0, False)],
)
def test_a_window_is_left_by_a_key_or_its_button(
    monkeypatch: pytest.MonkeyPatch, key: int, visible: float | cv2.error, wanted: bool
) -> None:
    def answer(*_: object) -> float:
        if isinstance(visible, cv2.error):
            raise visible
        return visible

    monkeypatch.setattr(cv2, "waitKey", lambda _: key)
    monkeypatch.setattr(cv2, "getWindowProperty", answer)
    assert camera_command._wanted() == wanted


def test_a_camera_that_breaks_off_is_3(mien: Run, tmp_path: Path) -> None:
    there = [clips.picture((ANNA, 20 + n, 30)) for n in range(60)]
    path = clips.write_clip(tmp_path / "a.mkv", there)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = mien("camera", path, "--json")
    assert result.code == 3
    assert [one["person"] for one in result.document["sightings"]] == ["Anna"]
    assert "damaged" in result.document["broken"]
    assert is_a_sentence(result.err)


def test_a_person_is_enrolled_from_a_camera(mien: Run, tmp_path: Path) -> None:
    pictures = [clips.picture((BERT, 60 + n, 40), side=120) for n in range(60)]
    clip = clips.write_clip(tmp_path / "clip.mp4", pictures)
    how = ("--source", clip, "--photos", "2", "--countdown", "0.3")
    result = mien("enroll", "people", "--camera", "Bert", *how)
    assert result.code == 0, result.err
    assert "hold still" in result.err
    assert "2 photos added, 1 kept" in result.out
    assert len(list((tmp_path / "people/Bert").glob("*.jpg"))) == 2
    refused = mien("enroll", "people", "--camera", "a/b", *how)
    assert (refused.code, is_a_sentence(refused.err)) == (2, True)
