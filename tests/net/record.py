"""Record what mien does, as seen from outside: its commands, its service and its public names.

    python tests/net/record.py [FOLDER]

writes a file for each command and each route into FOLDER, tests/net/record by default, and leaves
those alone that say the same as before but for the last digits of figures.  It needs all that
`make test` installs.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RECORD = HERE / "record"
PHOTOS = ROOT / "demo" / "photos"
SETTINGS = {
    "PYTHONPATH": str(ROOT),
    "MIEN_FACEBANK": "facebank.db",
    "MIEN_INDEX": "index.db",
    "COLUMNS": "100",
    "NO_COLOR": "1",
    "TERM": "dumb",
    "TZ": "UTC",
    "OMP_NUM_THREADS": "1",
    "MIEN_RUNTIME": "onnxruntime",
    "XDG_CACHE_HOME": "/nonexistent",
}
PLACES = {  # of the demo's photographs
    "people/Barack Obama/obama.jpg": "obama.jpg",
    "people/Joe Biden/biden.jpg": "biden.jpg",
    "group/Many/t1.jpg": "t1.jpg",
    "photos/obama2.jpg": "obama2.jpg",
    "photos/t1.jpg": "t1.jpg",
    "photos/trip/astronaut.png": "astronaut.png",
    "lfw/images/A/A_0001.jpg": "obama.jpg",
    "lfw/images/A/A_0002.jpg": "obama2.jpg",
    "lfw/images/B/B_0001.jpg": "biden.jpg",
    "lfw/images/C/C_0001.jpg": "astronaut.png",
}
TEXTS = {
    "lfw/pairs.txt": "1\t2\nA\t1\t2\nA\t2\t1\nA\t1\tB\t1\nB\t1\tC\t1\n",
    "broken.jpg": "no picture\n",
    "key.txt": "correct horse battery staple\n",
}
VARIES = {  # from one run or machine to another
    r"\b[0-9a-f]{64}\b": "<sha256>",
    r"\b(mine|other)-[0-9a-f]{12}\b": r"\1-<id>",
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z|\+00:00)?": "<time>",
    r"[A-Za-z0-9+/]{80,}={0,2}": "<base64>",
    r" at 0x[0-9a-f]+": "",
    r"tfevents\S+": "tfevents",
    r"(?<=readers: ).*": "<versions>",
    r'(?<="photos_per_second": )[\d.]+|[\d.]+(?= (photos )?(a|per) second)': "#",
    r'(?<="missing": )("[^"]*"|null)': "<ONNX Runtime Web, or not>",
    r'"(system|python|torch|numpy|processors)": ("[^"]*"|\d+)': r'"\1": "<machine>"',
}
HIDDEN = {"decimals": r"\d+([.:]\d+)+(e-?\d+)?", "numbers": r"\d+([.:,]\d+)*(e-?\d+)?"}
DECIMAL = re.compile(r"(?<![\w.])-?\d+\.\d+(e-?\d+)?(?!\w|\.\d)")
DULL = {"date", "server", "content-length", "etag", "last-modified", "connection", "x-request-id"}


def alike(one: str, other: str) -> bool:
    """Whether two records differ in nothing but the last digits of figures."""
    first, second = ([float(it[0]) for it in DECIMAL.finditer(text)] for text in (one, other))
    same = DECIMAL.sub("#", one) == DECIMAL.sub("#", other)
    return same and np.allclose(first, second, rtol=0.005, atol=0.0101)


def chapters(file: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """The names of a file's chapters, the words after them, and their lines."""
    for part in re.split(r"^\[", (HERE / file).read_text("utf-8"), flags=re.M)[1:]:
        head, *lines = part.strip().splitlines()
        name, words = head.split("]")
        yield name, shlex.split(words), lines


class World:
    """A folder to run commands in, with photos and a facebank that knows two people."""

    def __init__(self, home: Path) -> None:
        self.folder, self._fresh = home / "world", home / "fresh"
        for place, photo in PLACES.items():
            path = self.folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PHOTOS / photo, path)
        for name, text in TEXTS.items():
            (self.folder / name).write_text(text)
        (self.folder / "empty").mkdir()
        Image.new("RGB", (200, 200), "grey").save(self.folder / "nobody.png")
        self._film()
        self.run("mien enroll people")
        shutil.copytree(self.folder, self._fresh)

    def _film(self) -> None:
        """Two seconds of a photograph."""
        with Image.open(PHOTOS / "obama2.jpg") as photo:
            still = np.array(photo.resize((250, 480)))[:, :, ::-1]
        kind = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(self.folder / "clip.mp4"), kind, 8, (250, 480))
        for _ in range(16):
            writer.write(still)
        writer.release()

    def renew(self) -> None:
        """Begin again."""
        shutil.rmtree(self.folder)
        shutil.copytree(self._fresh, self.folder)

    def run(self, line: str) -> tuple[int, str, str]:
        """The exit code of a command, and what it prints on stdout and stderr."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
        with ExitStack() as stack:
            stack.enter_context(chdir(self.folder))
            stack.enter_context(redirect_stdout(out))
            stack.enter_context(redirect_stderr(err))
            stack.enter_context(patch.dict(os.environ))
            stack.enter_context(patch.object(sys, "argv", shlex.split(line)))
            stack.enter_context(patch.object(sys, "stdin", io.StringIO()))
            try:
                runpy.run_module("mien", run_name="__main__")
                code: Any = 0
            except SystemExit as end:
                code = end.code or 0
            except Exception as error:  # which nobody should see
                code = repr(error)
        for stream in (out, err):
            stream.seek(0)
        return code, out.read(), err.read()

    def files(self) -> dict[str, str]:
        """The hash of each file's content, by path."""
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }

    def transcript(self, lines: list[str], hidden: list[str]) -> str:
        """Commands and all that comes of them, one after the other."""
        return "\n".join(
            "\n".join(filter(None, self._traces(line, hidden))) + "\n" for line in lines
        )

    def _traces(self, line: str, hidden: list[str]) -> Iterator[str]:
        before = self.files()
        code, out, err = self.run(line)
        after = self.files()
        yield f"$ {line}"
        yield self._normal(out, hidden)
        yield self._normal(err, hidden, "! ")
        yield f"exit {code}" if code else ""
        yield from (self._normal(f"- {name}", hidden) for name in sorted(before.keys() - after))
        for name in after:
            if before.get(name) != after[name]:
                path = self.folder / name
                sign = "~" if name in before else "+"
                yield f"{sign} {self._normal(name, hidden)} {path.stat().st_mode & 0o777:o}"
                yield self._normal(content(path.read_bytes()), hidden, "    ")

    def _normal(self, text: str, hidden: list[str], before: str = "") -> str:
        return normal(text.replace(str(self.folder), "~"), hidden, before)


def normal(text: str, hidden: Collection[str] = (), before: str = "") -> str:
    """The text without what varies, and something before each line."""
    for pattern, word in VARIES.items():
        text = re.sub(pattern, word, text)
    for kind in hidden:
        text = re.sub(HIDDEN[kind], "#", text)
    text = DECIMAL.sub(lambda found: rounded(found[0]), text)
    return "\n".join(f"{before}{line}".rstrip() for line in text.rstrip("\n").splitlines())


def rounded(figure: str) -> str:
    """A figure with two decimals at most, unless they are all zero."""
    if len(figure.partition(".")[2]) <= 2:
        return figure
    return f"{float(figure):.1g}" if 0 < abs(float(figure)) < 0.01 else f"{float(figure):.2f}"


def content(data: bytes) -> str:
    """What a file or an answer holds, where that can be told."""
    if data.startswith(b"PAR1"):
        from pyarrow import BufferReader, parquet

        table = parquet.read_table(BufferReader(data))
        return f"{table.num_rows} rows\n{table.schema}"
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return f"{picture.format} {picture.width} x {picture.height}"
    except UnidentifiedImageError:
        pass
    text = data.decode(errors="replace")
    return "" if "\0" in text else text


def helps(world: World, command: str = "mien") -> Iterator[tuple[str, str]]:
    """The help of a command and of all below it."""
    text = normal(world.run(f"{command} --help")[1])
    yield command.replace(" ", "-"), f"{text.strip()}\n"
    for name in re.findall(r"^│ ([a-z]+) ", text, re.M):
        yield from helps(world, f"{command} {name}")


def names() -> Iterator[str]:
    """What mien offers to Python, with signatures."""
    import mien

    for name in mien.__all__:
        thing = getattr(mien, name)
        if not inspect.isclass(thing):
            yield f"{name}{inspect.signature(thing)}"
            continue
        bases = ", ".join(base.__name__ for base in thing.__bases__ if base is not object)
        plain = thing.__init__ is Exception.__init__
        yield f"class {name}({bases}){'' if plain else f': {inspect.signature(thing)}'}"
        for own, member in inspect.getmembers(thing):
            if not own.startswith("_") and own not in dir(Exception):
                if callable(member):
                    yield f"    {own}{inspect.signature(member)}"
                elif isinstance(member, property):
                    yield f"    {own}"


@contextmanager
def serving(folder: Path, options: list[str]) -> Iterator[Any]:
    """A client of a service with these options."""
    import httpx

    command = [sys.executable, "-m", "mien", "serve", "--port", "0", *options]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        told = re.search(r"http://[\d.:]+", process.stdout.readline())
        assert told, "mien serve has not said where it answers"
        try:
            with httpx.Client(base_url=told[0], timeout=30, trust_env=False) as client:
                yield client
        finally:
            process.terminate()


class Visitor:
    """Asks a service, and remembers what answers say that later requests need."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._said = {"UNIT": json.dumps([1.0] + [0.0] * 127)}
        self._usual: dict[str, str] = {}  # the first answer's headers

    def ask(self, client: Any, line: str) -> str:
        """A request and its answer."""
        method, path, *rest = line.split(" ", 2)
        for word, value in self._said.items():
            path, rest = path.replace(word, value), [text.replace(word, value) for text in rest]
        answer = client.request(method, path, **self._parts(*rest))
        headers = {name: it for name, it in answer.headers.items() if name not in DULL}
        lines = [f"> {line}", str(answer.status_code)]
        lines += [f"{name}: {it}" for name, it in headers.items() if self._usual.get(name) != it]
        lines += [f"no {name}" for name in self._usual if name not in headers]
        lines.append(self._body(answer))
        self._usual = self._usual or headers
        return normal("\n".join(lines).replace(str(client.base_url), "<url>")) + "\n"

    def _parts(self, text: str = "") -> dict[str, Any]:
        """What `httpx` takes."""
        if text.startswith("{"):
            return {"content": text, "headers": {"Content-Type": "application/json"}}
        files: list[Any] = []
        data: dict[str, str] = {}
        headers: dict[str, str] = {}
        for word in shlex.split(text):
            name, sign, value = re.split("([@=:])", word, maxsplit=1)
            if sign == "@":
                files.append((name, (value, (self._folder / value).read_bytes())))
            else:
                (data if sign == "=" else headers)[name] = value
        return {"files": files, "data": data, "headers": headers}

    def _body(self, answer: Any) -> str:
        kind = answer.headers.get("content-type", "")
        if kind.startswith("text/plain"):
            return re.sub(r" [-+.\de]+$", " #", answer.text.strip(), flags=re.M)
        if kind != "application/json":
            return content(answer.content).partition("\n")[0]
        body = answer.json()
        for word, name in {"MODEL": "model_id", "SHA256": "sha256"}.items():
            if found := re.search(f'"{name}":"(.*?)"', answer.text):
                self._said[word] = found[1]
        for route in body.get("paths", {}).values():  # of OpenAPI; refusals are many and all alike
            for operation in route.values():
                kept = {code: it for code, it in operation["responses"].items() if code < "3"}
                operation["responses"] = kept | {"others": " ".join(operation["responses"])}
        text = json.dumps(body, indent=1, ensure_ascii=False)
        return re.sub(r"\[[-\d.,\s]+\]", lambda found: " ".join(found[0].split()), text)


def record() -> Iterator[tuple[str, str]]:
    """The records, by the names of their files."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        world = World(Path(place).resolve())
        yield "names", normal("\n".join(names())) + "\n"
        for name, text in helps(world):
            yield f"help/{name}", text
        for name, hidden, lines in chapters("commands.txt"):
            world.renew()
            yield f"commands/{name}", world.transcript(lines, hidden)
        world.renew()
        visitor, last = Visitor(world.folder), None
        for name, options, lines in chapters("requests.txt"):
            if options != last:
                client, last = stack.enter_context(serving(world.folder, options)), options
            yield f"routes/{name}", "\n".join(visitor.ask(client, line) for line in lines)


def main() -> None:
    """Write the records that say something else than before, and remove those of what is gone."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else RECORD
    sys.path.insert(0, str(ROOT))
    os.environ.update(SETTINGS)
    os.umask(0o022)
    gone = set(folder.rglob("*.txt"))
    for name, text in record():
        path = folder / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (path.is_file() and alike(path.read_text("utf-8"), text)):
            path.write_text(text, "utf-8")
        gone.discard(path)
    for path in gone:
        path.unlink()


if __name__ == "__main__":
    main()
