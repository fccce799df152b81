"""Search measured: against what memory allows, and beside other libraries, exact and approximate.

All engines answer the same query, then all the next, each right after a plain read of the bytes
that it must read: a machine that slows down slows both, so ratios hold where single times do not.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from mien.cli import console
from mien.cli.render import Answer, Table
from mien.errors import BadInput
from mien.facebank.facebank import Facebank
from mien.facebank.index import cache
from mien.facebank.index.exact import ExactIndex
from mien.facebank.index.int8 import Codes, Int8Index, encode
from mien.facebank.rows import Photo
from mien.facebank.stores import create_store
from mien.parallel import processors
from mien.types import Embeddings

PHOTOS = 10  # of each made-up person
LIKENESS = 0.7  # mean cosine of two photos of a person
BATCH = 32  # queries that are asked together
GRAPHS = 100_000  # templates up to which graphs are built, being slow to build
PART = 1 << 20  # bytes that are read at a time

Nearest = Callable[[Embeddings], NDArray[np.integer[Any]]]  # (M, D) to (M,) row numbers


@dataclass(frozen=True, slots=True)
class Search:
    """An engine with so many templates."""

    engine: str
    templates: int
    dim: int
    build: float  # seconds from vectors in memory to an index that is also on disk
    open: float  # seconds from there to an index that answers
    query: float  # milliseconds for a single one, median
    read: float  # milliseconds that merely reading all templates takes, median
    ratio: float  # query to the read before it, median over the turns
    together: float  # milliseconds a query, of `BATCH` asked at once, median
    memory: float  # MB that building it took and it keeps
    disk: float  # MB
    recall: float  # of the queries that found the row which float32 search finds


@dataclass(frozen=True, slots=True)
class Growth:
    """A facebank of so many people with a photo each."""

    templates: int
    dim: int
    fill: float  # seconds to enrol them all, in thousands
    first: float  # seconds from the file alone to the first answer
    again: float  # the same, once there is a cache
    add: float  # milliseconds to enrol one more photo, median
    add_empty: float  # the same in a facebank that was empty before
    disk: float  # MB of the file
    cache: float  # MB of what lies beside it


@dataclass(frozen=True, slots=True)
class Recall:
    """An engine of `mien.facebank.stores` with so many people of one photo each."""

    engine: str  # its address
    templates: int
    dim: int
    fill: float  # seconds to enrol them all, in thousands
    query: float  # milliseconds for a single one, median
    queries: int
    recall: float  # of the queries whose answer is exact search's


@dataclass(frozen=True, slots=True, eq=False)
class _Engine:
    name: str
    build: Callable[[Embeddings, Path], Nearest]
    open: Callable[[Path], Nearest]
    bytes: int  # of a number, as it is read; 0 where not all are, which is compared with 4

    def too_slow(self, templates: int) -> bool:
        """Whether it is a graph, and takes too long to build with so many."""
        return not self.bytes and templates > GRAPHS


def measure(templates: int, dim: int, *, turns: int = 15, alone: bool = False) -> list[Search]:
    """Every engine that is installed, with made-up people.

    Args:
        templates: how many.
        dim: numbers in each.
        turns: how often each is asked, after a first time.
        alone: leave other libraries out.
    """
    rows = people(templates, dim)
    queries = _like(rows, turns + 1 + BATCH)
    engines = [engine for engine in _engines() if not engine.too_slow(templates)]
    if alone:
        engines = [engine for engine in engines if "mien" in engine.name]
    with tempfile.TemporaryDirectory() as folder:
        made = [_make(engine, rows, Path(folder, str(i))) for i, engine in enumerate(engines)]
        # Written to: all pages that never were are one and the same, which stays in the cache.
        codes = np.ones(rows.size, np.int8)
        reads = {4: rows.reshape(-1).view(np.uint8), 1: codes.view(np.uint8)}
        single, plain, batch, found = [], [], [], []
        for turn in range(turns + 1):
            answers = []
            for engine, (ask, *_) in zip(engines, made, strict=True):
                plain.append(_timed(_read, reads[engine.bytes or 4])[1])
                answers.append(_timed(ask, queries[turn : turn + 1]))
            single.append([seconds for _, seconds in answers])
            found.append([int(answer[0]) for answer, _ in answers])
        for _ in range(1 + turns // 4):
            answers = [_timed(ask, queries[-BATCH:]) for ask, *_ in made]
            batch.append([seconds for _, seconds in answers])
        found += np.array([answer for answer, _ in answers]).T.tolist()
    asked, many = 1000 * np.array(single)[1:], 1000 * np.array(batch)
    limits = 1000 * np.array(plain).reshape(len(single), -1)[1:]  # (turns, engines)
    hits = np.array(found) == np.array(found)[:, :1]
    results = []
    for i, (engine, (_, build, opened, memory, disk)) in enumerate(zip(engines, made, strict=True)):
        results.append(
            Search(
                engine.name,
                templates,
                dim,
                build,
                opened,
                float(np.median(asked[:, i])),
                float(np.median(limits[:, i])),
                float(np.median(asked[:, i] / limits[:, i])),
                float(np.median(many[:, i])) / BATCH,
                memory,
                disk,
                float(hits[:, i].mean()),
            )
        )
    return results


def left_out(templates: int) -> list[str]:
    """The names of engines that are installed, and not measured with so many templates."""
    return [engine.name for engine in _engines() if engine.too_slow(templates)]


def grow(templates: int, dim: int) -> Growth:
    """How a facebank behaves that is as large as this."""
    rows = people(templates + 20, dim)
    with tempfile.TemporaryDirectory() as folder:
        with Facebank.create(Path(folder, "small"), model_id="made-up", dim=dim) as bank:
            small = _adds(bank, rows[:20], 0)
        path = Path(folder, "large")
        with Facebank.create(path, model_id="made-up", dim=dim) as bank:
            start = time.perf_counter()
            for i in range(0, templates, 1000):
                bank.add(*_photos(rows, i, min(i + 1000, templates)))
            fill = time.perf_counter() - start
        first, again = (_timed(_answer, path, rows[:1])[1] for _ in range(2))
        cached = Path(f"{path}{cache.SUFFIXES[0]}")
        kept = cached.stat().st_size if cached.exists() else 0
        with Facebank.open(path) as bank:
            large = _adds(bank, rows, templates)
        disk = path.stat().st_size
    return Growth(
        templates, dim, fill, first, again, 1000 * large, 1000 * small, disk / 1e6, kept / 1e6
    )


def recall(address: str, templates: int, dim: int, *, queries: int = 200) -> Recall:
    """How often an engine names whom exact search names; the facebank there must be empty.

    Raises:
        BadInput: somebody is in it.
    """
    rows = people(templates, dim)
    asked = _like(rows, queries)
    with create_store(address, model_id="made-up", dim=dim) as store:
        if store.people():
            raise BadInput(f"{store.path} has people already: give an address where nobody is")
        start = time.perf_counter()
        for i in range(0, templates, 1000):
            store.add(*_photos(rows, i, min(i + 1000, templates)))
        fill = time.perf_counter() - start
        answers = [_timed(store.search, asked[i : i + 1], -1.0) for i in range(queries)]
    best = ExactIndex(rows).search(asked, 1)[1][:, 0]
    hits = [
        found[0].person == _name(int(row)) for (found, _), row in zip(answers, best, strict=True)
    ]
    query = float(1000 * np.median([seconds for _, seconds in answers]))
    return Recall(store.path, templates, dim, fill, query, queries, float(np.mean(hits)))


def people(templates: int, dim: int) -> Embeddings:
    """Made-up templates, `PHOTOS` of each person, whose mean cosine is `LIKENESS`."""
    rng = np.random.default_rng(templates)
    rows = np.empty((templates, dim), np.float32)
    for start in range(0, templates, 10_000):
        part = rows[start : start + 10_000]
        owners = -(-len(part) // PHOTOS)
        centres = np.repeat(_unit(rng.standard_normal((owners, dim), np.float32)), PHOTOS, axis=0)
        noise = _unit(rng.standard_normal(part.shape, np.float32))
        part[:] = _unit(centres[: len(part)] + noise * (1 / LIKENESS - 1) ** 0.5)
    return rows


def _like(rows: Embeddings, count: int) -> Embeddings:
    """Queries, each like some row as another photo of a person is."""
    rng = np.random.default_rng(0)
    picked = rows[rng.integers(len(rows), size=count)]
    noise = _unit(rng.standard_normal(picked.shape, np.float32))
    return _unit(picked + noise * (1 / LIKENESS**2 - 1) ** 0.5)


def _unit(vectors: NDArray[np.float32]) -> Embeddings:
    unit: Embeddings = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _make(
    engine: _Engine, rows: Embeddings, path: Path
) -> tuple[Nearest, float, float, float, float]:
    """It, the seconds to build and to open it, its MB in memory and on disk."""
    gc.collect()
    before = _resident()
    nearest, build = _timed(engine.build, rows, path)
    memory = _resident() - before
    disk = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    _, opened = _timed(lambda: engine.open(path)(rows[:1]))
    return nearest, build, opened, max(memory, 0) / 1e6, disk / 1e6


def _engines() -> list[_Engine]:
    engines = [
        _Engine("mien float32", _build_exact, _open_exact, 4),
        _Engine("mien int8", _build_int8, _open_int8, 1),
    ]
    others = {"faiss": _faiss, "usearch": _usearch, "hnswlib": _hnswlib}
    for package, make in others.items():
        try:
            engines += make(importlib.import_module(package))
        except ImportError:
            continue
    return engines


def _first(index: ExactIndex | Int8Index) -> Nearest:
    return lambda queries: index.search(queries, 1)[1][:, 0]


def _build_exact(rows: Embeddings, path: Path) -> Nearest:
    cache.save(str(path), {}, {"rows": rows}, still=lambda: True)
    return _first(ExactIndex(rows))


def _open_exact(path: Path) -> Nearest:
    return _first(ExactIndex(_arrays(path)["rows"]))


def _build_int8(rows: Embeddings, path: Path) -> Nearest:
    codes = encode(rows)
    arrays: cache.Arrays = {"rows": rows, "values": codes.values, "bounds": codes.bounds}
    cache.save(str(path), {}, arrays, still=lambda: True)
    return _first(Int8Index(rows, codes))


def _open_int8(path: Path) -> Nearest:
    found = _arrays(path)
    return _first(Int8Index(found["rows"], Codes(found["values"], found["bounds"])))


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    found = cache.load(str(path), {})
    if found is None:
        raise OSError(f"no room for {path}")
    return found


def _faiss(faiss: Any) -> list[_Engine]:
    faiss.omp_set_num_threads(processors())

    def ask(index: Any) -> Nearest:
        return lambda queries: index.search(queries, 1)[1][:, 0]

    def build(rows: Embeddings, path: Path) -> Nearest:
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(rows)
        faiss.write_index(index, str(path))
        return ask(index)

    return [_Engine("faiss flat", build, lambda path: ask(faiss.read_index(str(path))), 4)]


def _usearch(_: Any) -> list[_Engine]:
    index = importlib.import_module("usearch.index")
    product = index.MetricKind.IP

    def flat(rows: Embeddings) -> Nearest:
        def ask(queries: Embeddings) -> NDArray[np.integer[Any]]:
            found = index.search(rows, queries, 1, product, exact=True, threads=processors())
            return np.asarray(found.keys, np.int64).reshape(-1)

        return ask

    def build_flat(rows: Embeddings, path: Path) -> Nearest:
        np.save(path.with_suffix(".npy"), rows)
        return flat(rows)

    def ask_graph(graph: Any) -> Nearest:
        return lambda queries: np.asarray(
            graph.search(queries, 1, threads=processors()).keys, np.int64
        ).reshape(-1)

    def build_graph(rows: Embeddings, path: Path) -> Nearest:
        graph = index.Index(ndim=rows.shape[1], metric=product, dtype="f32")
        graph.add(np.arange(len(rows)), rows, threads=processors())
        graph.save(str(path))
        return ask_graph(graph)

    return [
        _Engine(
            "usearch flat",
            build_flat,
            lambda path: flat(np.load(path.with_suffix(".npy"), mmap_mode="r")),
            4,
        ),
        _Engine(
            "usearch graph", build_graph, lambda path: ask_graph(index.Index.restore(str(path))), 0
        ),
    ]


def _hnswlib(hnswlib: Any) -> list[_Engine]:
    def ask(index: Any) -> Nearest:
        index.set_ef(64)
        return lambda queries: np.asarray(index.knn_query(queries, 1)[0][:, 0], np.int64)

    def build(rows: Embeddings, path: Path) -> Nearest:
        index = hnswlib.Index("ip", rows.shape[1])
        index.init_index(len(rows), M=16, ef_construction=200)
        index.add_items(rows, num_threads=processors())
        index.save_index(str(path))
        path.with_suffix(".dim").write_text(str(rows.shape[1]))
        return ask(index)

    def open_again(path: Path) -> Nearest:
        index = hnswlib.Index("ip", int(path.with_suffix(".dim").read_text()))
        index.load_index(str(path))
        return ask(index)

    return [_Engine("hnswlib graph", build, open_again, 0)]


def _read(data: NDArray[np.uint8]) -> None:
    """Look at every byte, on all processors."""
    step = -(-len(data) // processors())

    def look(start: int) -> None:
        for i in range(start, min(start + step, len(data)), PART):
            data[i : min(i + PART, start + step)].max()

    with ThreadPoolExecutor(processors()) as pool:
        list(pool.map(look, range(0, len(data), step)))


def _timed(work: Callable[..., Any], *of: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    done = work(*of)
    return done, time.perf_counter() - start


def _resident() -> int:
    """Bytes of this process in memory that no file holds as well; 0 where that is not known."""
    try:
        fields = Path("/proc/self/statm").read_text().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * 4096


def _photos(rows: Embeddings, start: int, end: int) -> tuple[list[Photo], Embeddings]:
    names = [_name(i) for i in range(start, end)]
    photos = [
        Photo(
            name, hashlib.sha256(name.encode()).hexdigest(), "/photos", f"{name}/1.jpg", 1.0, 100.0
        )
        for name in names
    ]
    return photos, rows[start:end]


def _name(number: int) -> str:
    return f"P{number:09d}"


def _adds(bank: Facebank, rows: Embeddings, start: int) -> float:
    """Seconds to enrol a photo, the median of 20."""
    seconds = [_timed(bank.add, *_photos(rows, i, i + 1))[1] for i in range(start, start + 20)]
    return float(np.median(seconds))


def _answer(path: Path, query: Embeddings) -> None:
    with Facebank.open(path) as bank:
        bank.search(query, 0.5)


_SEARCH = {
    "ENGINE": "{engine}",
    "TEMPLATES": "{templates}",
    "DIM": "{dim}",
    "BUILD S": "{build:.2f}",
    "OPEN S": "{open:.2f}",
    "QUERY MS": "{query:.2f}",
    "READ MS": "{read:.2f}",
    "RATIO": "{ratio:.2f}",
    "BATCH MS": "{together:.3f}",
    "MB": "{memory:.0f}",
    "DISK MB": "{disk:.0f}",
    "RECALL": "{recall:.3f}",
}
_FACEBANK = {
    "PEOPLE": "{templates}",
    "DIM": "{dim}",
    "FILL S": "{fill:.1f}",
    "OPEN S": "{first:.2f}",
    "AGAIN S": "{again:.2f}",
    "ADD MS": "{add:.1f}",
    "IN EMPTY": "{add_empty:.1f}",
    "MB": "{disk:.0f}",
    "CACHE MB": "{cache:.0f}",
}
_ENGINE = {
    "ENGINE": "{engine}",
    "TEMPLATES": "{templates}",
    "DIM": "{dim}",
    "FILL S": "{fill:.1f}",
    "QUERY MS": "{query:.2f}",
    "QUERIES": "{queries}",
    "RECALL": "{recall:.4f}",
}


def main(
    *,
    templates: Annotated[
        list[int] | None,
        typer.Option(metavar="N", min=100, show_default="10000", help="How many; may be repeated."),
    ] = None,
    dim: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N", min=2, show_default="128", help="Dimensions of each; may be repeated."
        ),
    ] = None,
    turns: Annotated[int, typer.Option(metavar="N", min=1, help="Times that each is asked.")] = 15,
    alone: Annotated[
        bool, typer.Option("--alone", help="Leave out other libraries, where they are installed.")
    ] = False,
    facebank: Annotated[
        bool, typer.Option("--facebank", help="Fill facebanks of these sizes instead.")
    ] = False,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Fill an empty facebank there instead, and check its recall."
        ),
    ] = None,
) -> Answer:
    """Measure the search for the nearest template, against the speed of memory.

    Templates are made up: ten alike of each person.
    """
    sizes = [(count, wide) for count in templates or (10_000,) for wide in dim or (128,)]
    if engine:
        checked = recall(engine, *sizes[0])
        return Answer(checked, [Table(_ENGINE, [checked])])
    if facebank:
        grown = [grow(*size) for size in console.progress(sizes, "filling")]
        return Answer({"facebanks": grown}, [Table(_FACEBANK, grown)])
    found = [
        one
        for size in console.progress(sizes, "searching")
        for one in measure(*size, turns=turns, alone=alone)
    ]
    out = [] if alone else sorted({name for size, _ in sizes for name in left_out(size)})
    slow = f"{', '.join(out)}: left out beyond {GRAPHS} templates, being slow to build"
    return Answer(
        {"turns": turns, "searches": found, "left_out": out, "graphs_up_to": GRAPHS},
        [Table(_SEARCH, found), *([slow] if out else [])],
    )
