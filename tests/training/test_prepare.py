"""Preparing: all that is good arrives, all that is not is named, and a killed run goes on."""

from __future__ import annotations

import io
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import children
import cv2
import numpy as np
import pytest
from fakes import SquareFaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from rec import content, insightface, record, write

pytest.importorskip("pyarrow", reason="preparing needs the extra data")

from mien import images
from mien.errors import BadInput, CannotWrite
from mien.images import decode
from mien.training import prepare as verb
from mien.training.data.shards import NO_LABEL, Shards
from mien.training.prepare import check, write_original_layout
from mien.types import Face, Image

T = TypeVar("T")
TESTS = Path(__file__).parents[1]

prepare = partial(verb.prepare, detector=SquareFaces, workers=1)


def picture(seed: int, size: tuple[int, int] = (112, 112), kind: str = "JPEG") -> bytes:
    """The file of a small picture of colours."""
    pixels = np.random.default_rng(seed).integers(1, 256, (4, 4, 3), np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(pixels).resize(size).save(file, kind)
    return file.getvalue()


def photo(path: Path, seed: int, size: tuple[int, int] = (112, 112), kind: str = "JPEG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(seed, size, kind))
    return path


def emore(folder: Path, records: Sequence[bytes], people: int | None = 3) -> Path:
    """A folder of InsightFace."""
    folder.mkdir(exist_ok=True)
    write(folder, records)
    if people is not None:
        (folder / "property").write_text(f"{people},112,112\n")
    return folder


PHOTOS = [(label, picture(seed)) for seed, label in enumerate([0, 0, 1, 1, 1, 2])]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four pictures in each."""
    monkeypatch.setattr(verb, "_COPIED", 4)
    monkeypatch.setattr(verb, "_DETECTED", 4)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def reasons(shards: Shards) -> list[str]:
    return [skip["reason"] for skip in shards.report["skipped"]]


def kinds(shards: Shards) -> dict[str, int]:
    return {entry["kind"]: entry["count"] for entry in shards.report["reasons"]}


def test_records_arrive_byte_for_byte(tmp_path: Path, out: Path) -> None:
    source = emore(tmp_path / "emore", insightface(PHOTOS))
    shards = prepare([source], out)
    assert shards.images(range(6)) == [image for _, image in PHOTOS]
    assert shards.labels.tolist() == [0, 0, 1, 1, 1, 2]
    assert shards.names == ("0", "1", "2")
    assert shards.sides.tolist() == [112] * 6
    report = shards.report
    assert report["sources"] == [{"path": str(source), "kind": "insightface", "pictures": 6}]
    assert (report["records"], report["people"], report["single"]) == (6, 3, 1)
    assert (report["skipped"], report["empty"], report["reasons"]) == ([], [], [])
    assert [entry["records"] for entry in report["shards"]] == [4, 2]
    assert check(out).digest == shards.digest


def test_what_mxnet_has_written_arrives(out: Path) -> None:
    shards = prepare([TESTS / "mxnet"], out)
    assert shards.labels.tolist() == [0, 0, 0, 1, 1, 2]
    assert [entry["name"] for entry in shards.report["sets"]] == ["lfw"]
    assert (out / "lfw.bin").read_bytes() == (TESTS / "mxnet/lfw.bin").read_bytes()


def test_people_without_a_property_are_counted_by_record_0(tmp_path: Path, out: Path) -> None:
    source = emore(tmp_path / "a", insightface(PHOTOS), people=None)
    assert prepare([source], out).names == ("0", "1", "2")


def test_flipped_bytes_in_a_jpeg_are_named(tmp_path: Path, out: Path) -> None:
    good = picture(0)
    flipped = bytearray(good)
    for place in range(len(good) // 2, len(good) - 2, 7):
        flipped[place] ^= 0x55
    records = [record(content(0, image)) for image in (good, bytes(flipped))]
    shards = prepare([emore(tmp_path / "a", records, people=1)], out)
    assert shards.images(range(1)) == [good]
    assert "record 1 is truncated or damaged" in reasons(shards)[0]


def test_people_of_im2rec_are_counted_by_their_labels(tmp_path: Path, out: Path) -> None:
    records = [record(content(label, picture(label))) for label in (0, 1, 1)]
    shards = prepare([emore(tmp_path / "a", records, people=None)], out)
    assert (shards.names, shards.labels.tolist()) == (("0", "1"), [0, 1, 1])
    records.append(record(content(10**9, picture(4))))
    with pytest.raises(BadInput, match="has a label 1000000000 in 4 records: write into a file"):
        prepare([emore(tmp_path / "b", records, people=None)], tmp_path / "c")


def test_crops_of_another_size_are_resized_where_asked(tmp_path: Path, out: Path) -> None:
    records = [record(content(0, picture(0, (64, 64)))), record(content(0, picture(1)))]
    source = emore(tmp_path / "a", records, people=None)
    shards = prepare([source], tmp_path / "b")
    assert (len(shards), kinds(shards)) == (1, {"size": 1})
    assert reasons(shards)[0].endswith("is 64 x 64, not 112 x 112 or 128 x 128: --resize takes it")
    shards = prepare([source], out, resize=True)
    assert shards.sides.tolist() == [112, 112]
    small, kept = shards.images(range(2))
    assert kept == picture(1)
    assert np.abs(decode(small).astype(int) - decode(picture(0)).astype(int)).mean() < 5
    with pytest.raises(BadInput, match="holds a data set of other pictures or options"):
        prepare([source], out)


@pytest.mark.parametrize("text", ["", "many", "0,112,112", "-3", "3;112"])
def test_a_wrong_property(tmp_path: Path, out: Path, text: str) -> None:
    source = emore(tmp_path / "emore", insightface(PHOTOS))
    (source / "property").write_text(text)
    with pytest.raises(BadInput, match="must be like 85742,112,112"):
        prepare([source], out)


def test_bad_records_are_named_and_skipped(tmp_path: Path, out: Path) -> None:
    good = picture(9)
    source = emore(
        tmp_path / "emore",
        [
            record(content([9, 12])),
            record(content(0, good)),
            record(content(3, good)),
            record(content(1, good[:-40])),
            record(content(1, b"no picture")),
            record(content(1.5, good)),
            record(content(0, picture(1, (96, 112)))),
            record(b"short"),
            record(content(2, good)),
        ],
    )
    shards = prepare([source], out)
    assert shards.labels.tolist() == [0, 2]
    assert kinds(shards) == {"damaged": 4, "label": 1, "size": 1}
    rec = source / "train.rec"
    assert [reason.removeprefix(f"{rec} ") for reason in reasons(shards)] == [
        "record 2 has label 3, and there are 3 people",
        "record 3 is truncated or damaged: copy it again from its source",
        "record 4 is not a JPEG, PNG, WebP, GIF, BMP, AVIF, HEIC, JPEG XL, raw or TIFF picture: "
        "convert it",
        "record 5 is damaged: its label 1.5 is not a whole number from 0",
        "record 6 is 96 x 112, not 112 x 112 or 128 x 128",
        "record 7 is damaged: its 5 bytes are less than a header of 24",
    ]
    assert shards.report["empty"] == ["1"]


def test_a_truncated_file_of_records(tmp_path: Path, out: Path) -> None:
    source = emore(tmp_path / "emore", insightface(PHOTOS))
    rec = source / "train.rec"
    starts = [int(line.split()[1]) for line in (source / "train.idx").read_text().splitlines()]
    rec.write_bytes(rec.read_bytes()[: starts[4] + 100])
    shards = prepare([source], out)
    assert shards.images(range(3)) == [image for _, image in PHOTOS[:3]]
    assert [f"record {n} is damaged" in why for n, why in enumerate(reasons(shards), 4)] == [
        True
    ] * 3
    assert "runs past its end" in reasons(shards)[0]
    assert "at or past the end" in reasons(shards)[1]


def test_an_index_past_the_end(tmp_path: Path, out: Path) -> None:
    source = emore(tmp_path / "emore", insightface(PHOTOS))
    index = source / "train.idx"
    lines = index.read_text().splitlines()
    lines[2], lines[5] = "2\t99999999", "5\t123456789012"
    index.write_text("\n".join(lines))
    shards = prepare([source], out)
    assert shards.labels.tolist() == [0, 1, 1, 2]
    assert kinds(shards) == {"damaged": 2}
    assert "record 2 is damaged: byte 99999999 is at or past the end" in reasons(shards)[0]


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_every_record_arrives_or_is_named(tmp_path_factory: Any, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("emore")
    labels = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=12))
    packed = insightface([(label, picture(seed)) for seed, label in enumerate(labels)])
    broken = data.draw(st.sets(st.integers(1, len(labels))))
    emore(folder, packed)
    content = bytearray((folder / "train.rec").read_bytes())
    starts = np.cumsum([0, *map(len, packed)])
    for number in broken:
        place = data.draw(st.integers(int(starts[number]), int(starts[number + 1]) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    (folder / "train.rec").write_bytes(content)
    try:
        shards = prepare([folder], folder / "out")
    except BadInput as error:
        assert broken or min(labels) > 2
        assert "none of the pictures can be used" in str(error)
        return
    assert len(shards) + len(shards.report["skipped"]) == len(labels)
    intact = [n for n in range(1, len(labels) + 1) if n not in broken and labels[n - 1] < 3]
    arrived = shards.images(range(len(shards)))
    assert all(picture(number - 1) in arrived for number in intact)


def people(folder: Path) -> Path:
    photo(folder / "Anna/1.jpg", 1)
    photo(folder / "Anna/2.png", 2, kind="PNG")
    photo(folder / "Bert B/deep/1.webp", 3, kind="WEBP")
    photo(folder / "Čilić 李/1.jpg", 4, (128, 128))
    return folder


def test_aligned_people_are_kept_as_they_are(tmp_path: Path, out: Path) -> None:
    source = people(tmp_path / "people")
    shards = prepare([source], out, aligned=True)
    assert shards.names == ("Anna", "Bert B", "Čilić 李")
    assert shards.labels.tolist() == [0, 0, 1, 2]
    assert shards.sides.tolist() == [112, 112, 112, 128]
    first, second, third, _ = shards.images(range(4))
    assert first == (source / "Anna/1.jpg").read_bytes()
    assert second == (source / "Anna/2.png").read_bytes()
    np.testing.assert_array_equal(
        images.decode(third), images.read(source / "Bert B/deep/1.webp")
    )  # as PNG
    assert third.startswith(b"\x89PNG")
    assert shards.report["single"] == 2


def test_raw_photos_are_aligned_with_a_margin(tmp_path: Path, out: Path) -> None:
    path = photo(tmp_path / "in/a.png", 1, kind="PNG")
    photo(tmp_path / "in/black.png", 1).write_bytes(
        cv2.imencode(".png", np.zeros((50, 50, 3), np.uint8))[1].tobytes()
    )
    (tmp_path / "in/bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    shards = prepare([tmp_path / "in"], out)
    assert shards.names == ()
    assert shards.labels.tolist() == [NO_LABEL]
    assert shards.sides.tolist() == [128]
    assert kinds(shards) == {"damaged": 1, "no face": 1}
    (image,) = shards.images([0])
    assert image.startswith(b"\xff\xd8")
    assert image[image.index(b"\xff\xc0") + 11] == 0x11  # as many samples of colour as of light
    assert images.decode(image).shape == (128, 128, 3)
    inner = images.decode(image)[8:-8, 8:-8].astype(int)
    assert np.abs(inner - images.read(path))[4:-4, 4:-4].mean() < 3


def test_a_link_that_leads_nowhere_is_skipped(tmp_path: Path, out: Path) -> None:
    photo(tmp_path / "in/a.png", 1, kind="PNG")
    (tmp_path / "in/lost.png").symlink_to(tmp_path / "gone.png")
    shards = prepare([tmp_path / "in"], out)
    assert (len(shards), kinds(shards)) == (1, {"damaged": 1})


def test_the_largest_face_is_taken(tmp_path: Path, out: Path) -> None:
    path = photo(tmp_path / "in/two.png", 1, (224, 112), kind="PNG")
    (image,) = prepare([tmp_path / "in"], out).images([0])
    inner = images.decode(image)[8:-8, 8:-8].astype(int)
    assert np.abs(inner - images.read(path)[:, 112:])[4:-4, 4:-4].mean() < 3


def test_a_person_without_photos_and_a_photo_without_a_person(tmp_path: Path, out: Path) -> None:
    source = people(tmp_path / "people")
    (source / "Empty").mkdir()
    photo(source / "stray.jpg", 5)
    shards = prepare([source], out, aligned=True)
    assert "Empty" not in shards.names
    assert kinds(shards) == {"no person": 1, "empty person": 1}
    assert reasons(shards)[0].endswith("is not in a person's folder: move it into one")


def test_points_that_fix_no_face(tmp_path: Path, out: Path) -> None:
    class Degenerate(SquareFaces):
        def __call__(self, image: Image) -> list[Face]:
            (face,) = super().__call__(image)
            spread = float(image[0, 0, 0] != image[-1, -1, -1])
            return [Face(face.box, face.points * np.float32(spread), face.confidence)]

    photo(tmp_path / "in/good.png", 1, kind="PNG")
    plain = cv2.imencode(".png", np.full((50, 50, 3), 9, np.uint8))[1].tobytes()
    (tmp_path / "in/plain.png").write_bytes(plain)
    shards = prepare([tmp_path / "in"], out, detector=Degenerate)
    assert (len(shards), kinds(shards)) == (1, {"no face": 1})


def test_a_folder_above_the_people_is_refused(tmp_path: Path, out: Path) -> None:
    people(tmp_path / "set/images")
    with pytest.raises(BadInput, match=r"if those are people, give .*images"):
        prepare([tmp_path / "set"], out)


def test_one_person_with_one_photo(tmp_path: Path, out: Path) -> None:
    photo(tmp_path / "people/Anna/1.jpg", 1)
    shards = prepare([tmp_path / "people"], out, aligned=True)
    assert (len(shards), shards.names, shards.report["single"]) == (1, ("Anna",), 1)


def test_people_can_be_chosen(tmp_path: Path, out: Path) -> None:
    source = people(tmp_path / "people")
    shards = prepare([source], out, aligned=True, people=frozenset({"Čilić 李", "Anna"}))
    assert shards.names == ("Anna", "Čilić 李")
    assert shards.labels.tolist() == [0, 0, 1]
    with pytest.raises(BadInput, match="no folder 'Zoe'"):
        prepare([source], tmp_path / "other", people=frozenset({"Zoe"}))
    with pytest.raises(BadInput, match="no folders of people"):
        prepare([source / "Anna"], tmp_path / "other", people=frozenset({"Anna"}))


def test_sources_together_do_not_share_people(tmp_path: Path, out: Path) -> None:
    first = emore(tmp_path / "emore", insightface(PHOTOS))
    second = people(tmp_path / "people")
    loose = photo(tmp_path / "loose.jpg", 8)
    shards = prepare([first, loose, second], out, aligned=True)
    assert shards.labels.tolist() == [0, 0, 1, 1, 1, 2, NO_LABEL, 3, 3, 4, 5]
    assert shards.names[0] == f"{first}/0"
    assert shards.names[3:] == tuple(f"{second}/{n}" for n in ("Anna", "Bert B", "Čilić 李"))
    with pytest.raises(BadInput, match="given twice"):
        prepare([first, tmp_path / "emore/../emore"], tmp_path / "other")


def test_the_sets_are_carried_if_they_can_be_read(tmp_path: Path, out: Path) -> None:
    source = emore(tmp_path / "emore", insightface(PHOTOS))
    lfw = pickle.dumps(([picture(k) for k in range(4)], [True, False]), 2)
    (source / "lfw.bin").write_bytes(lfw)
    (source / "cfp_fp.bin").write_bytes(pickle.dumps(([b"no", b"picture"], [True])))
    (source / "agedb_30.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    shards = prepare([source], out)
    assert [(entry["name"], entry["pairs"]) for entry in shards.report["sets"]] == [("lfw", 2)]
    assert (out / "lfw.bin").read_bytes() == lfw
    assert not (out / "agedb_30.bin").exists()
    assert kinds(shards) == {"verification set": 2}
    assert any("asks for 'os.system', which is refused" in why for why in reasons(shards))
    check(out)
    (out / "lfw.bin").write_bytes(lfw[:-1] + b"!")
    with pytest.raises(BadInput, match=r"lfw\.bin is damaged"):
        check(out)


def test_the_original_layout(tmp_path: Path, out: Path) -> None:
    source = emore(tmp_path / "emore", insightface(PHOTOS))
    photos = [picture(k) for k in range(4)]
    (source / "lfw.bin").write_bytes(pickle.dumps((photos, [True, False]), 2))
    for _ in range(2):
        write_original_layout(prepare([source], out), out)
    files = sorted(out.glob("imgs/*/*"))
    assert [str(f.relative_to(out / "imgs")) for f in files] == [
        *("0/0.jpg", "0/1.jpg", "1/2.jpg", "1/3.jpg", "1/4.jpg", "2/5.jpg")
    ]
    assert [file.read_bytes() for file in files] == [image for _, image in PHOTOS]
    assert [f.read_bytes() for f in sorted((out / "lfw").iterdir())] == photos
    assert np.load(out / "lfw_list.npy").tolist() == [True, False]


def test_another_data_set_is_not_touched(tmp_path: Path, out: Path) -> None:
    source = people(tmp_path / "people")
    prepare([source], out, aligned=True)
    with pytest.raises(BadInput, match="other pictures or options"):
        prepare([source], out)
    photo(source / "Anna/3.jpg", 7)
    with pytest.raises(BadInput, match="other pictures or options"):
        prepare([source], out, aligned=True)


def test_nothing_of_use(tmp_path: Path, out: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/bad.jpg").write_text("no picture")
    with pytest.raises(BadInput, match=r"none of the pictures can be used: .*bad.jpg is not"):
        prepare([tmp_path / "in"], out)
    with pytest.raises(BadInput, match="does not exist"):
        prepare([tmp_path / "gone"], out)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_killed_within_any_write_it_goes_on(tmp_path: Path) -> None:
    source = emore(tmp_path / "emore", insightface(PHOTOS))
    (source / "lfw.bin").write_bytes(pickle.dumps(([picture(1), picture(2)], [True]), 2))
    whole = prepare([source], tmp_path / "whole")
    moments = 0
    while True:  # plan, shard, shard, set, index, people, report
        out, left = tmp_path / f"killed-{moments}", [moments]

        def work(out: Path = out, left: list[int] = left) -> None:
            fsync = os.fsync

            def die(descriptor: int) -> None:
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                fsync(descriptor)

            with patch.object(os, "fsync", die), patch.object(verb, "_COPIED", 4):
                prepare([source], out)

        (killed,) = children.start(work)
        killed.join(60)
        if killed.exitcode == 0:
            break
        assert killed.exitcode == -signal.SIGKILL
        with pytest.raises(BadInput, match="holds no finished data set: run the same mien prepare"):
            Shards(out)
        assert prepare([source], out).digest == whole.digest
        left_behind = {k: v for k, v in files_of(out).items() if not k.endswith(".part")}
        assert left_behind == files_of(tmp_path / "whole")
        moments += 1
    assert moments == 7


def test_what_is_done_is_not_done_again(tmp_path: Path, out: Path) -> None:
    for number in range(10):
        photo(tmp_path / f"in/{number}.png", number, kind="PNG")
    detector = SquareFaces()
    whole = prepare([tmp_path / "in"], out, detector=lambda: detector)
    assert detector.pictures == 10
    for file in ("shard-00001.arrow", "prepare.json"):
        (out / file).unlink()
    assert prepare([tmp_path / "in"], out, detector=lambda: detector).digest == whole.digest
    assert detector.pictures == 14
    assert prepare([tmp_path / "in"], out, detector=lambda: detector).digest == whole.digest
    assert detector.pictures == 14


def test_a_damaged_shard_is_found_at_the_end(tmp_path: Path, out: Path) -> None:
    source = emore(tmp_path / "emore", insightface(PHOTOS))
    prepare([source], out)
    (out / "prepare.json").unlink()
    shard = out / "shard-00000.arrow"
    at = shard.read_bytes().find(PHOTOS[1][1]) + 50
    shard.write_bytes(shard.read_bytes()[:at] + b"?" + shard.read_bytes()[at + 1 :])
    with pytest.raises(BadInput, match=r"shard-00000\.arrow is damaged: delete it"):
        prepare([source], out)
    shard.unlink()
    assert prepare([source], out).images([1]) == [PHOTOS[1][1]]


def test_a_disk_that_is_full(tmp_path: Path, out: Path) -> None:
    source = emore(tmp_path / "emore", insightface(PHOTOS))

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        prepare([source], out)

    assert isinstance(children.error_of(work), CannotWrite)
    assert len(prepare([source], out)) == 6


class Slow(SquareFaces):
    """Says that it lives, then takes its time."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        (folder / str(os.getpid())).touch()
        time.sleep(0.2)


class Deadly(SquareFaces):
    """A detector that takes its process down."""

    def __call__(self, image: Image) -> list[Face]:
        os._exit(9)


def test_workers_do_the_same(tmp_path: Path, out: Path) -> None:
    for number in range(9):
        photo(tmp_path / f"in/{number}.png", number, kind="PNG")
    alone = prepare([tmp_path / "in"], tmp_path / "alone")
    assert prepare([tmp_path / "in"], out, workers=2).digest == alone.digest
    assert files_of(out) == files_of(tmp_path / "alone")


def test_a_worker_that_dies(tmp_path: Path, out: Path) -> None:
    for number in range(9):
        photo(tmp_path / f"in/{number}.png", number, kind="PNG")
    with pytest.raises(BadInput, match="a worker has died"):
        prepare([tmp_path / "in"], out, detector=Deadly, workers=2)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_workers_end_with_a_process_that_is_killed(tmp_path: Path, out: Path) -> None:
    for number in range(200):
        photo(tmp_path / f"in/{number}.png", number, (16, 16), kind="PNG")
    alive = tmp_path / "alive"
    alive.mkdir()
    code = (
        "import sys, functools; from pathlib import Path\n"
        "import test_prepare; from mien.training import prepare as verb\n"
        "verb._DETECTED = 4\n"
        f"slow = functools.partial(test_prepare.Slow, Path({str(alive)!r}))\n"
        f"verb.prepare([{str(tmp_path / 'in')!r}], Path({str(out)!r}), detector=slow, workers=2)\n"
    )
    path = os.pathsep.join(str(folder) for folder in (TESTS / "training", TESTS, TESTS.parent))
    main = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path})
    wait_for(lambda: (out / "shard-00002.arrow").exists() and len(list(alive.iterdir())) == 2)
    main.kill()
    main.wait()
    workers = [int(file.name) for file in alive.iterdir()]
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    assert not (out / "prepare.json").exists()
    assert len(prepare([tmp_path / "in"], out)) == 200


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def test_progress_covers_all_shards(tmp_path: Path, out: Path) -> None:
    seen: list[tuple[str, int]] = []

    def progress(things: Sequence[T], doing: str, /) -> Iterable[T]:
        seen.append((doing, len(things)))
        return things

    prepare([emore(tmp_path / "emore", insightface(PHOTOS))], out, progress=progress)
    assert seen == [("preparing", 2), ("checking", 2)]


def test_real_people(data: Path, out: Path) -> None:
    people = frozenset(sorted(p.name for p in (data / "celebs").iterdir())[:2])
    shards = verb.prepare([data / "celebs"], out, people=people, workers=1)
    assert shards.names == tuple(sorted(people))
    photos = sum(len(list((data / "celebs" / name).iterdir())) for name in people)
    assert len(shards) > 0.9 * photos
    assert {images.decode(image).shape for image in shards.images([0, 1])} == {(128, 128, 3)}


def test_a_link_to_itself_is_no_source(tmp_path: Path, out: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(BadInput, match="loop"):
        prepare([tmp_path / "loop"], out)
