"""Photos are found, and files are written whole; what is there stays the kind of thing it is."""

from __future__ import annotations

import os
import socket
import stat
import threading
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from disks import closed, forbidden

from mien import files, formats, images
from mien.errors import BadInput, CannotWrite

# Finding


def album(tmp_path: Path, *names: str) -> Path:
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def found(folder: Path, *paths: str | Path) -> list[str]:
    return [str(photo.relative_to(folder)) for photo in files.walk(paths)]


def test_a_folder_is_searched_to_the_bottom_in_order(tmp_path: Path) -> None:
    album(
        tmp_path, "b.jpg", "A.JPEG", "z/2.png", "a/9.WebP", "a/b/x.tiff", "notes.txt", "a.jpg.bak"
    )
    album(tmp_path, ".hidden.jpg", ".git/c.jpg", "z/.thumbs/2.png", "z/IMG_1.HEIC")
    expected = ["A.JPEG", "b.jpg", "a/9.WebP", "a/b/x.tiff", "z/2.png", "z/IMG_1.HEIC"]
    assert found(tmp_path, tmp_path) == expected
    assert found(tmp_path, str(tmp_path)) == expected


def test_one_path_may_come_alone(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert files.walk(str(tmp_path)) == files.walk(tmp_path) == [tmp_path / "a.png"]


def test_a_file_named_outright_is_taken_as_it_is(tmp_path: Path) -> None:
    album(tmp_path, "scan", "x[1].jpg", "x1.jpg", ".hidden.jpg")
    names = ["x[1].jpg", "scan", ".hidden.jpg"]
    assert found(tmp_path, *[tmp_path / name for name in names]) == names


def test_patterns(tmp_path: Path) -> None:
    album(tmp_path, "a1.jpg", "a2.png", "a3.txt", "b1.jpg", "c/a4.jpg", "c/d/a5.jpg")
    assert found(tmp_path, f"{tmp_path}/a*") == ["a1.jpg", "a2.png"]
    assert found(tmp_path, f"{tmp_path}/[bc]*") == ["b1.jpg", "c/a4.jpg", "c/d/a5.jpg"]
    everywhere = ["a1.jpg", "b1.jpg", "c/a4.jpg", "c/d/a5.jpg"]
    assert found(tmp_path, f"{tmp_path}/**/*.jpg") == everywhere


def test_each_photo_comes_once_where_it_came_first(tmp_path: Path) -> None:
    album(tmp_path, "b.jpg", "c/a.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "b.jpg")
    again: list[str | Path] = [tmp_path / "c/a.jpg", tmp_path, f"{tmp_path}/c/../*.jpg"]
    assert found(tmp_path, *again) == ["c/a.jpg", "b.jpg"]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    album(tmp_path, "here/a.jpg", "there/b.jpg")
    for name in ("up", "up2", "up3"):  # with several, following them blindly takes for ever
        (tmp_path / "here" / name).symlink_to(tmp_path / "here")
    (tmp_path / "here/over").symlink_to(tmp_path / "there")
    (tmp_path / "here/self").symlink_to(tmp_path / "here/self")
    assert found(tmp_path, tmp_path / "here") == ["here/a.jpg", "here/over/b.jpg"]


def test_a_link_to_a_photo_that_is_gone_is_found_and_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "lost.jpg").symlink_to(tmp_path / "gone.jpg")
    [photo] = files.walk([tmp_path])
    with pytest.raises(BadInput, match="does not exist"):
        images.read(photo)


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("gone", "does not exist"),
        ("*.jpg", "holds no photos"),
        ("empty", "holds no photos"),
        ("*.txt", "holds no photos"),
    ],
)
def test_nothing_found_is_an_error(tmp_path: Path, path: str, complaint: str) -> None:
    album(tmp_path, "notes.txt", "empty/notes.txt", "full/a.jpg")
    with pytest.raises(BadInput, match=complaint):
        files.walk([f"{tmp_path}/{path}"])


def test_a_folder_that_one_may_not_list(tmp_path: Path) -> None:
    album(tmp_path, "locked/a.jpg")
    with forbidden(tmp_path / "locked"), pytest.raises(BadInput, match="Permission denied"):
        files.walk([tmp_path / "locked"])


def faulty(folder: Path) -> None:
    """Leave a folder with one good photo, and all that cannot be looked at."""
    album(folder, "good.jpg", "deep/too", "gone/a.jpg")
    (folder / "album on a disk").symlink_to(folder / "unplugged")
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "pipe.jpg")
    with chdir(folder / "deep"):
        for _ in range(os.pathconf("/", "PC_PATH_MAX") // 200 + 1):
            Path("d" * 200).mkdir()
            os.chdir("d" * 200)


def test_what_cannot_be_looked_at_is_named_and_the_rest_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty(tmp_path)
    scan = os.scandir

    def vanishing(path: Path) -> object:
        if path.name == "gone":
            path.rename(tmp_path.parent / "taken away")
        return scan(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    with closed(album(tmp_path, "lost+found/x.jpg") / "lost+found"):
        walked = files.walk([tmp_path, tmp_path / "absent", tmp_path / ("n" * 300)])
    assert [path.name for path in walked] == ["good.jpg", "pipe.jpg"]
    said = {one.path.name: one.reason for one in walked.skipped}
    assert said.keys() == {
        *("album on a disk", "loop", "gone", "lost+found", "absent", "n" * 300, "d" * 200)
    }
    for name, why in {
        "album on a disk": "leads nowhere (No such file or directory)",
        "loop": "leads nowhere (Too many levels of symbolic links)",
        "gone": "cannot be listed (No such file or directory)",
        "lost+found": "cannot be listed (Permission denied)",
        "absent": "does not exist",
        "n" * 300: "cannot be looked at (File name too long)",
        "d" * 200: "cannot be listed (File name too long)",
    }.items():
        assert why in said[name] and ": " in said[name]
    with pytest.raises(BadInput, match="not an ordinary file"):
        images.read(walked[1])


def test_what_programs_keep_beside_photos_is_left_out(tmp_path: Path) -> None:
    kept = ["@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", "#recycle/b.jpg", "$RECYCLE.BIN/c.jpg"]
    kept += [".Trash-1000/d.jpg", "@Recycle/e.jpg", "System Volume Information/f.jpg"]
    kept += ["__MACOSX/._a.jpg", ".thumbnails/g.jpg", "app/.nomedia", "app/h.jpg", "app/in/i.jpg"]
    kept += ["a.mien.jpg", "b.png.mien.jpg", "a.jpg~", "a.jpg_original", "clip.thm"]
    (tmp_path / "a.jpg~").write_bytes(JPEG)
    album(tmp_path, "a.jpg", "IMG.CR2", "IMG.JPG", "alone.CR2", *kept)
    (tmp_path / "clip.thm").write_bytes(JPEG)
    assert found(tmp_path, tmp_path) == ["IMG.JPG", "a.jpg", "alone.CR2"]
    assert found(tmp_path, tmp_path / "app") == ["app/h.jpg", "app/in/i.jpg"]  # it is named
    assert found(tmp_path, f"{tmp_path}/*") == ["IMG.JPG", "a.jpg", "alone.CR2"]


@pytest.mark.parametrize("made", ["drawing", "sheet", "cut-out"])
@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_what_mien_has_made_is_known_wherever_it_is(tmp_path: Path, made: str, ending: str) -> None:
    picture = np.full((40, 30, 3), 200, np.uint8)
    for name in ("photo", "own"):
        images.write(tmp_path / (name + ending), picture, made=made if name == "own" else "")
    (tmp_path / "scan").write_bytes((tmp_path / f"own{ending}").read_bytes())
    (tmp_path / "link.png").symlink_to("scan")
    assert (images.read(tmp_path / f"own{ending}") == picture).all()
    assert found(tmp_path, tmp_path) == [f"photo{ending}"]
    assert len(files.walk(tmp_path, cut_outs=True)) == (3 if made == "cut-out" else 1)
    assert len(found(tmp_path, tmp_path / "scan", tmp_path / f"own{ending}")) == 2


JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0"


def test_a_photo_is_known_by_its_name_or_else_by_its_first_bytes(tmp_path: Path) -> None:
    named = [f"{number:02}{ending}" for number, ending in enumerate(formats.EXTENSIONS)]
    named += ["x.jp2", "y.PSD"]  # that nothing here reads: `read` says so
    album(tmp_path, *named, "empty", "notes.txt", "a.svg")
    for name in ("scan", "subject01.glasses", "2024.summer", "notes.html", "b.xmp"):
        (tmp_path / name).write_bytes(JPEG)
    (tmp_path / "BMW").write_bytes(b"BMW 3, a drive in June, with photos")
    assert sorted(found(tmp_path, tmp_path)) == sorted(
        [*named, "scan", "subject01.glasses", "2024.summer"]
    )


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"exclude": ["*.PNG"]}, "a.jpg c.jpg 2019/d.jpg trips/raw/f.jpg"),
        ({"exclude": ["2019"]}, "a.jpg b.png c.jpg trips/raw/f.jpg"),
        ({"exclude": ["trips/raw", "c.*"]}, "a.jpg b.png 2019/d.jpg 2019/raw/e.png"),
        ({"exclude": ["/raw"]}, "a.jpg b.png c.jpg 2019/d.jpg 2019/raw/e.png trips/raw/f.jpg"),
        ({"exclude": ["raw/"]}, "a.jpg b.png c.jpg 2019/d.jpg"),
        ({"include": ["20*"]}, "2019/d.jpg 2019/raw/e.png"),
        ({"include": ["*.jpg"], "exclude": ["/trips", "a*"]}, "c.jpg 2019/d.jpg"),
    ],
)
def test_patterns_choose_among_a_folders_photos(
    tmp_path: Path, choice: dict[str, list[str]], expected: str
) -> None:
    album(tmp_path, "a.jpg", "b.png", "c.jpg", "2019/d.jpg", "2019/raw/e.png", "trips/raw/f.jpg")
    taken = files.walk(tmp_path, choice=files.Choice(**choice))
    assert [str(path.relative_to(tmp_path)) for path in taken] == expected.split()


@pytest.mark.parametrize("pattern", ["", "/", "."])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(BadInput, match="is no pattern"):
        files.Choice(exclude=[pattern])


def test_a_pattern_goes_in_no_circles(tmp_path: Path) -> None:
    album(tmp_path, "here/a.jpg", "here/deep/b.jpg")
    for name in ("up", "up2", "up3"):  # following them blindly takes for ever
        (tmp_path / "here" / name).symlink_to(tmp_path / "here")
    assert found(tmp_path, f"{tmp_path}/**/*.jpg") == ["here/a.jpg", "here/deep/b.jpg"]


# Writing


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_and_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a/b/c"
    files.write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert mode(path) & 0o044 == 0o044 & ~_umask()


def test_what_is_private_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "a/b/c"
    files.write_atomically(path, b"faces", private=True)
    assert (mode(path), mode(path.parent), mode(path.parents[1])) == (0o600, 0o700, 0o700)
    path.chmod(0o664)
    files.write_atomically(path, b"more", private=True)
    assert (path.read_bytes(), mode(path)) == (b"more", 0o664)


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives away")
def test_its_owner_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "theirs"
    path.write_bytes(b"old")
    os.chown(path, 65534, 65534)
    files.write_atomically(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    target, link, dangling = tmp_path / "in/real", tmp_path / "link", tmp_path / "dangling"
    target.parent.mkdir()
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    dangling.symlink_to(tmp_path / "later")
    for path in (link, dangling):
        files.write_atomically(path, b"new")
        assert path.is_symlink() and path.read_bytes() == b"new"
    assert mode(target) == 0o640
    assert {one.name for one in tmp_path.rglob("*")} == {"in", "real", "link", "dangling", "later"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_into_a_pipe(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    files.write_atomically(pipe, b"through")
    reader.join(60)
    assert got == [b"through"] and pipe.is_fifo()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_into_a_device() -> None:
    files.write_atomically("/dev/null", b"nowhere")
    with pytest.raises(CannotWrite, match=r"/dev/full .*free some space"):
        files.write_atomically("/dev/full", b"nowhere")
    assert all(Path(device).is_char_device() for device in ("/dev/null", "/dev/full"))


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file/below", tmp_path / ("n" * 300)):
        with pytest.raises(CannotWrite, match="cannot be written"):
            files.write_atomically(path, b"new")
    if hasattr(socket, "AF_UNIX"):
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(tmp_path / "s"))
            with pytest.raises(CannotWrite):
                files.write_atomically(tmp_path / "s", b"new")
    assert {one.name for one in tmp_path.iterdir()} <= {"file", "s"}
