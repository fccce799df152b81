"""Runs what the README and the pages of docs/ show, and holds their figures to docs/results.json.

`make readme` writes into the pages what comes out.

A figure followed by <!--ENTRY/PLACE--> is that of an entry of results.json: the value at a place in
its document, such as evaluations/0/accuracy, or the cell of a printed table at ROW/COLUMN.
Brackets followed by <!--ENTRY/@--> say when and on what it was measured.  A block ```text after a
line <!--ENTRY--> is what the entry's command printed; so is a table there, with brackets below it.

A block ```sh is run line by line, all of a page in one folder and in order; so is ```console, where
commands follow "$ " and all else is what they print; so is ```python, and what it prints where
```text comes next.  A comment that says what a line takes or needs, such as `# takes hours`, is for
the reader and for the tests: that line is not run, but parsed.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rec
import reference
from PIL import Image, ImageOps

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
RESULTS = json.loads((ROOT / "docs" / "results.json").read_text("utf-8"))
BEFORE_ENROLLING = ("start.md", "people.md")
SETTINGS = {
    "MIEN_RUNTIME": "onnxruntime",  # whose scores are the same on every machine
    "COLUMNS": "80",
    "MIEN_INDEX": "demo/index.db",
    "MIEN_FACEBANK": "demo/facebank.db",
}
_BLOCK = re.compile(
    r"^```(sh|console|python)\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE
)
_PROMPT = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_FIGURE = re.compile(r"(-?[\d,]*\.?\d+)( ?%)?<!--([^<>]+)-->")
_PRINTED = re.compile(r"^(<!--([\w-]+)-->\n```text\n).*?^```$", re.DOTALL | re.MULTILINE)
_TABLE = re.compile(r"^(<!--([\w-]+)-->\n)(?:\|.*\n)+\n\(.*\)$", re.MULTILINE)
_WHERE = re.compile(r"\([^()]*\)<!--([\w-]+)/@-->")
_APART = re.compile(r"#.*\b(takes (minutes|hours)|needs|fetches|until Ctrl-C)\b")


@dataclass(frozen=True)
class Step:
    """Something that a page runs, and what it says comes out."""

    command: list[str]
    label: str
    output: str | None  # None: the page does not say
    start: int  # of the output, in the page
    end: int
    apart: bool = False  # takes or needs what a test has not


def steps(text: str) -> Iterator[Step]:
    """All that a page runs, in its order."""
    for block in _BLOCK.finditer(text):
        kind, body, printed = block.groups()
        if kind == "python":
            yield Step([sys.executable, "-c", body], "python", printed, *block.span(3))
        elif kind == "console":
            for found in _PROMPT.finditer(body):
                start, end = (block.start(2) + place for place in found.span(2))
                yield line(found[1], found[2].strip("\n"), start, end)
        else:
            whole = False  # a comment on its own is about all that follows it in the block
            for command in body.replace("\\\n", " ").splitlines():
                whole = whole or bool(command.startswith("#") and _APART.search(command))
                if command.strip() and not command.startswith("#"):
                    yield line(command, apart=whole)


def line(
    text: str, output: str | None = None, start: int = -1, end: int = -1, *, apart: bool = False
) -> Step:
    """A line of the shell as a step."""
    apart = apart or bool(_APART.search(text))
    return Step(["bash", "-c", text], text, output, start, end, apart)


def with_figures(text: str, results: dict[str, Any] = RESULTS) -> str:
    """A page with the figures of results.json, each with as many digits as it has in the page."""
    text = _PRINTED.sub(lambda found: f"{found[1]}{_block(results[found[2]])}```", text)
    text = _TABLE.sub(lambda found: f"{found[1]}{_table(results[found[2]])}", text)
    text = _WHERE.sub(lambda found: f"({_where(results[found[1]])})<!--{found[1]}/@-->", text)
    return _FIGURE.sub(lambda found: _figure(found, results), text)


def _block(entry: dict[str, Any]) -> str:
    command = entry["command"].replace("$DATA/", "")
    return "\n".join([f"$ {command}", *entry["printed"], "", _where(entry), ""])


def _table(entry: dict[str, Any]) -> str:
    return "\n".join([*entry["printed"], "", f"({_where(entry)})"])


def _where(entry: dict[str, Any]) -> str:
    """The day, the commit and the processor of a measurement."""
    commit = [f"commit {entry['commit']}"] if entry.get("commit") else []
    copied = ["copied from an earlier record"] if entry.get("copied") else []
    return ", ".join([entry["date"], *commit, entry["processor"], *copied])


def _figure(found: re.Match[str], results: dict[str, Any]) -> str:
    shown, percent, place = found.groups()
    name, _, rest = place.partition("/")
    entry = results[name]
    if "printed" in entry:
        value = float(_cell(entry["printed"], *rest.split("/", 1)))
    else:
        value = entry["result"]
        for key in rest.split("/"):
            value = value[int(key)] if isinstance(value, list) else value[key]
        value *= 100 if percent else 1
    digits = len(shown.partition(".")[2])
    return f"{value:,.{digits}f}{percent or ''}<!--{place}-->"


def _cell(lines: list[str], row: str, column: str) -> str:
    """The number in a printed table, of the first row that has some words in their order."""
    place = re.compile(rf"(?:^|  ){re.escape(column)}(?:  |$)")
    starts = [found.start() for line in lines if (found := place.search(line))]
    words = re.compile(r".*\s".join(re.escape(word) for word in row.split()) + r"\b")
    line = next(line for line in lines if words.match(line))
    return re.split(r"[ %]", line[starts[0] :].strip())[0]


def prepare(folder: Path) -> None:
    """Lay out what the README's commands expect: what make demo leaves."""
    photos = folder / "demo" / "photos"
    photos.mkdir(parents=True)
    for photo in (ROOT / "demo" / "photos").iterdir():
        (photos / photo.name).symlink_to(photo)
    for person, name in (("Barack Obama", "obama.jpg"), ("Joe Biden", "biden.jpg")):
        (folder / "demo" / "people" / person).mkdir(parents=True)
        shutil.copy(photos / name, folder / "demo" / "people" / person)


def lay(page: Path, folder: Path) -> None:
    """Lay out what a page's commands expect.

    For the pages of docs/ these are small files of two people and some strangers, by the names that
    they go by there, and a facebank that knows the two.
    """
    prepare(folder)
    if page != README:
        shutil.copytree(_stand_ins().name, folder, dirs_exist_ok=True)
        if page.name not in BEFORE_ENROLLING:
            for name in ("demo/facebank.db", "facebank.db"):
                shutil.copy(Path(_enrolled().name, "demo", "facebank.db"), folder / name)


@cache
def _enrolled() -> tempfile.TemporaryDirectory[str]:
    """Where the two were enrolled; it stays as long as the process, so that they can be again."""
    home = tempfile.TemporaryDirectory()
    prepare(Path(home.name))
    shutil.copytree(_stand_ins().name, home.name, dirs_exist_ok=True)
    code, printed = run(line("mien enroll people"), Path(home.name))
    assert code == 0, printed
    return home


@cache
def _stand_ins() -> tempfile.TemporaryDirectory[str]:
    """Where the small files are; it stays as long as the process."""
    home = tempfile.TemporaryDirectory()
    folder = Path(home.name)
    ann, again, grown, ben, stranger = (
        _small(name) for name in ("obama", "obama2", "obama3", "biden", "astronaut")
    )
    other = ImageOps.pad(_small("t1").crop((300, 0, 480, 160)), (300, 300))
    party = Image.new("RGB", (grown.width + ben.width, 480))
    party.paste(grown)
    party.paste(ImageOps.mirror(ben), (grown.width, 0))
    pictures = {
        "people/Ann/1.jpg": ann,
        "people/Ann/2.jpg": again,
        "people/Ben/1.jpg": ben,
        "photos/party.jpg": party,
        "photos/sea/1.jpg": stranger,
        "photos/sea/2.jpg": other,
        "photos/sky/1.jpg": ImageOps.mirror(stranger),
        "photos/sky/2.jpg": ImageOps.mirror(other),
        "party.jpg": party,
        "passport.jpg": ann,
        "selfie.jpg": again,
        "a/Ann/1.jpg": ann,
        "b/Ben/1.jpg": ben,
        "c.jpg": stranger,
        "crops/Ann/1.png": _crop(1),
        "crops/Ann/2.png": _crop(2),
        "crops/Ben/1.png": _crop(3),
        "lfw/A/A_0001.jpg": ann,
        "lfw/A/A_0002.jpg": again,
        "lfw/A/A_0003.jpg": grown,
        "lfw/B/B_0001.jpg": ben,
        "lfw/C/C_0001.jpg": stranger,
    }
    for name, picture in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / name)
    (folder / "lfw" / "pairs.txt").write_text("1\t2\nA\t1\t2\nA\t1\t3\nA\t1\tB\t1\nB\t1\tC\t1\n")
    (folder / "train.txt").write_text("Ann\n")
    shutil.copy(ROOT / "mien" / "recognition" / "weights" / "mien-small.onnx", folder / "mine.onnx")
    _clip(folder / "clip.mp4", party)
    _faces_emore(folder / "faces_emore")
    return home


def _small(name: str) -> Image.Image:
    """A photograph of the demo with a longer side of 480 pixels."""
    (path,) = (ROOT / "demo" / "photos").glob(f"{name}.*")
    with Image.open(path) as picture:
        picture.thumbnail((480, 480))
        return picture.convert("RGB")


def _crop(seed: int) -> Image.Image:
    """Colours of no meaning, 112 x 112."""
    colours = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), np.uint8)
    return Image.fromarray(colours.repeat(16, axis=0).repeat(16, axis=1))


def _clip(path: Path, picture: Image.Image) -> None:
    """Half a minute of a picture, once a second."""
    frame = cv2.cvtColor(np.array(picture), cv2.COLOR_RGB2BGR)[:480, : picture.width // 2 * 2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 1, frame.shape[1::-1])
    for _ in range(31):
        writer.write(frame)
    writer.release()


def _faces_emore(folder: Path) -> None:
    """InsightFace's files, of four people with two pictures each."""
    folder.mkdir()
    pictures = [cv2.imencode(".jpg", np.array(_crop(k)))[1].tobytes() for k in range(8)]
    rec.write(folder, rec.insightface([(k // 2, picture) for k, picture in enumerate(pictures)]))
    (folder / "property").write_text("4,112,112\n")
    pairs = [picture for k in range(40) for picture in (pictures[k % 8], pictures[k * 3 % 8])]
    (folder / "lfw.bin").write_bytes(pickle.dumps((pairs, [k % 2 == 0 for k in range(40)])))


def run(step: Step, folder: Path) -> tuple[int, str]:
    """The exit code of a step, and what it prints on stdout and stderr."""
    settings = {
        **SETTINGS,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",  # both in the order in which they are printed
    }
    done = subprocess.run(
        step.command,
        cwd=folder,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout.strip("\n")


def main() -> None:
    """Write each page again, or those that are named, with its figures and its commands' output."""
    reference.PAGE.write_text(reference.page(), "utf-8")
    for page in map(Path.resolve, map(Path, sys.argv[1:])) if sys.argv[1:] else (README, *DOCS):
        text = with_figures(page.read_text("utf-8"))
        if any(step.output is not None and not step.apart for step in steps(text)):
            text = with_outputs(page, text)
        page.write_text(text, "utf-8")


def with_outputs(page: Path, text: str) -> str:
    """A page with what its commands print."""
    with tempfile.TemporaryDirectory() as folder:
        lay(page, Path(folder))
        outputs = [(step, run(step, Path(folder))[1]) for step in steps(text) if not step.apart]
    for step, output in sorted(outputs, key=lambda pair: -pair[0].start):
        if step.output is not None:
            after = "" if text.startswith("```", step.end) else "\n"
            output += "\n" if output else ""
            text = text[: step.start] + output + after + text[step.end :]
    return text


if __name__ == "__main__":
    main()
