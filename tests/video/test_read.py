"""Reading and writing videos: time, size, direction, sound, and what is damaged."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import clips
import numpy as np
import pytest
from clips import av

from mien.errors import BadInput, CannotWrite
from mien.types import Image
from mien.video import copy_name
from mien.video.camera import Camera
from mien.video.read import Video
from mien.video.write import Writer

ANNA = 1


def moving(count: int) -> list[np.ndarray]:
    return [clips.picture((ANNA, 20 + n, 40)) for n in range(count)]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4")]
)
def test_pictures_come_upright_in_order_and_with_their_times(
    tmp_path: Path, name: str, codec: str
) -> None:
    pictures = moving(45)
    video = Video(clips.write_clip(tmp_path / name, pictures, codec=codec))
    stills = list(video.stills())
    assert len(stills) == 45
    assert [still.number for still in stills] == list(range(45))
    assert np.allclose([still.time for still in stills], np.arange(45) / 30, atol=2e-3)
    assert (video.width, video.height, video.broken) == (320, 240, None)
    for still, picture in zip(stills[::9], pictures[::9], strict=True):
        assert np.abs(still.image().astype(int) - picture).mean() < 3
        assert still.grey().shape == (240, 320)
        assert np.abs(still.grey() - still.image().mean(axis=2)).mean() < 25


def test_a_part_is_that_part(tmp_path: Path) -> None:
    video = Video(clips.write_clip(tmp_path / "a.mp4", moving(90)))
    times = [still.time for still in video.stills(1.25, 2.0)]
    assert times[0] == pytest.approx(1.267, abs=2e-3)
    assert times[-1] == pytest.approx(2.0, abs=2e-3)
    assert video.broken is None


def test_a_variable_rate_is_kept(tmp_path: Path) -> None:
    times = [0, 0.02, 0.2, 0.21, 1.0, 1.5]
    video = Video(clips.write_clip(tmp_path / "a.mp4", moving(6), times=times))
    assert np.allclose([still.time for still in video.stills()], times, atol=2e-3)
    copy = tmp_path / "b.mp4"
    with Writer(copy, video) as writer:
        for still in video.stills():
            writer.write(still.time, still.image())
    assert np.allclose([still.time for still in Video(copy).stills()], times, atol=2e-3)


def test_times_go_on_where_two_files_were_joined(tmp_path: Path) -> None:
    data = clips.write_clip(tmp_path / "a.ts", moving(30)).read_bytes()
    (tmp_path / "b.ts").write_bytes(data + data)
    times = [still.time for still in Video(tmp_path / "b.ts").stills()]
    assert len(times) >= 58
    assert np.diff(times).min() > 0
    assert np.diff(times).max() < 0.1


def test_a_turned_video_is_read_upright(tmp_path: Path) -> None:
    pictures = moving(3)
    video = Video(clips.turn(clips.write_clip(tmp_path / "a.mp4", pictures)))
    still = next(video.stills())
    assert (video.width, video.height) == (still.width, still.height) == (240, 320)
    assert still.image().shape == (320, 240, 3)
    upright = np.rot90(pictures[0], -1)  # what was at the left is on top
    assert np.abs(still.image().astype(int) - upright).mean() < 3
    assert np.abs(still.grey() - still.image().mean(axis=2)).mean() < 25


SHOWN: dict[tuple[int, int, int, int], Callable[[Image], Image]] = {  # by the display matrix
    (1, 0, 0, 1): lambda stored: stored,
    (0, 1, -1, 0): lambda stored: np.rot90(stored, -1),
    (-1, 0, 0, -1): lambda stored: np.rot90(stored, 2),
    (0, -1, 1, 0): np.rot90,
    (-1, 0, 0, 1): np.fliplr,
    (1, 0, 0, -1): np.flipud,
    (0, 1, 1, 0): lambda stored: stored.swapaxes(0, 1),
    (0, -1, -1, 0): lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
}


@pytest.mark.parametrize("matrix", SHOWN)
def test_a_video_is_read_as_its_matrix_says(
    tmp_path: Path, matrix: tuple[int, int, int, int]
) -> None:
    pictures = moving(2)
    video = Video(clips.turn(clips.write_clip(tmp_path / "a.mp4", pictures), *matrix))
    still = next(video.stills())
    expected = SHOWN[matrix](pictures[0])
    assert (still.height, still.width) == expected.shape[:2]
    assert np.abs(still.image().astype(int) - expected).mean() < 3
    assert np.abs(still.grey() - still.image().mean(axis=2)).mean() < 25


@pytest.mark.parametrize(
    ("told", "shape"),
    [("4/3", (240, 427)), ("2", (240, 640)), ("1/2", (480, 320)), ("1/60", (240, 320))],
)
@pytest.mark.parametrize("turned", [False, True])
def test_pixels_that_are_not_square(
    tmp_path: Path, told: str, shape: tuple[int, int], turned: bool
) -> None:
    path = tmp_path / "a.mp4"
    clips.write_clip(path, moving(2), pixel_shape=Fraction(told))
    if turned:
        clips.turn(path)
        shape = shape[::-1]
    video = Video(path)
    still = next(video.stills())
    assert (video.height, video.width) == still.grey().shape == still.image().shape[:2] == shape
    with Writer(tmp_path / "b.mp4", video) as writer:
        writer.write(0, still.image())
    copy = Video(tmp_path / "b.mp4")
    assert (copy.height, copy.width) == (shape[0] & ~1, shape[1] & ~1)
    seen = next(Camera(str(path)).stills())
    assert (seen.height, seen.width) == shape


def test_large_pictures_are_shrunk(tmp_path: Path) -> None:
    path = clips.turn(clips.write_clip(tmp_path / "a.mp4", moving(3)))
    video = Video(path, longest=160)
    still = next(video.stills())
    assert (video.width, video.height) == (120, 160)
    assert still.image().shape == (160, 120, 3)
    assert still.grey().shape == (160, 120)


def test_sound_of_a_transport_stream_goes_into_matroska(tmp_path: Path) -> None:
    video = Video(clips.write_clip(tmp_path / "a.ts", moving(30), sound=True))
    with Writer(tmp_path / "b.mkv", video) as writer:
        for still in video.stills():
            writer.write(still.time, still.image())
    assert writer.broken is None
    with av.open(str(tmp_path / "b.mkv")) as copy:
        assert sum(frame.samples for frame in copy.decode(audio=0)) > 14_000


@pytest.mark.parametrize("start", [0, 1.0])
def test_a_copy_has_the_rate_and_the_sound(tmp_path: Path, start: float) -> None:
    path = clips.write_clip(tmp_path / "a.mp4", moving(60), sound=True)
    video, copy = Video(path), tmp_path / "sub" / "b.mp4"
    with Writer(copy, video, start=start) as writer:
        for still in video.stills(start):
            writer.write(still.time, still.image())
    with av.open(str(path)) as before, av.open(str(copy)) as after:
        assert after.streams.video[0].average_rate == 30
        assert after.streams.video[0].frames == 60 - 30 * start
        sounds = [
            [bytes(packet) for packet in one.demux(audio=0) if packet.size]
            for one in (before, after)
        ]
        assert after.streams.audio[0].codec_context.name == "aac"
    if start:
        assert sounds[1] == sounds[0][-len(sounds[1]) :]
        assert len(sounds[1]) == pytest.approx(len(sounds[0]) / 2, abs=2)
    else:
        assert sounds[1] == sounds[0]
    assert [one.name for one in copy.parent.iterdir()] == ["b.mp4"]  # and no part of another


def test_a_cut_off_video_gives_what_is_there_and_says_where_it_ends(tmp_path: Path) -> None:
    whole = clips.write_clip(tmp_path / "a.mp4", moving(120))
    with (
        av.open(str(whole)) as source,
        av.open(str(tmp_path / "front.mp4"), "w", options={"movflags": "faststart"}) as out,
    ):
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    data = (tmp_path / "front.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    video = Video(tmp_path / "cut.mp4")
    count = sum(1 for _ in video.stills())
    assert 20 < count < 110
    assert video.broken is not None
    assert f"from {(count - 1) / 30:.1f} s" in video.broken or "damaged from" in video.broken
    assert str(tmp_path / "cut.mp4") in video.broken


def test_damage_in_the_middle_costs_no_more_than_its_surroundings(tmp_path: Path) -> None:
    path = clips.write_clip(tmp_path / "a.mkv", moving(120))
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : third + 400] = np.random.default_rng(0).bytes(400)
    path.write_bytes(data)
    video = Video(path)
    times = [still.time for still in video.stills()]
    assert times[-1] > 3.8
    assert len(times) > 60
    assert video.broken is not None


@pytest.mark.parametrize("name", ["a.mp4", "a.ts"])
def test_whatever_is_damaged_the_rest_is_copied(tmp_path: Path, name: str) -> None:
    data = clips.write_clip(tmp_path / name, moving(20), sound=True).read_bytes()
    random = np.random.default_rng(0)
    for _ in range(10):
        damaged = bytearray(data)
        for place in random.integers(0, len(data) - 40, 6):
            damaged[place : place + 40] = random.bytes(40)
        (tmp_path / name).write_bytes(damaged)
        try:
            video = Video(tmp_path / name)
        except BadInput:
            continue
        with Writer(tmp_path / "copy.mkv", video) as writer:
            times = [still.time for still in video.stills()]
            for still in video.stills():
                writer.write(still.time, still.image())
        assert sum(1 for _ in Video(tmp_path / "copy.mkv").stills()) == len(times)


@pytest.mark.parametrize("content", [b"", b"no video", b"\0\0\0\x18ftypmp42" + b"\0" * 100])
def test_what_is_no_video_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"x\.mp4"):
        Video(path)
    with pytest.raises(BadInput, match="does not exist"):
        Video(tmp_path / "gone.mp4")


def test_a_stopped_copy_leaves_nothing(tmp_path: Path) -> None:
    video = Video(clips.write_clip(tmp_path / "a.mp4", moving(5)))
    with pytest.raises(RuntimeError), Writer(tmp_path / "out" / "b.mp4", video):
        raise RuntimeError
    assert not list((tmp_path / "out").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(CannotWrite, match="choose another place"):
        Writer(tmp_path / "file" / "b.mp4", video)


def test_the_names_of_copies() -> None:
    assert copy_name(Path("x/clip.MP4")) == "clip.mien.MP4"
    assert copy_name(Path("clip.webm")) == "clip.webm.mien.mkv"
