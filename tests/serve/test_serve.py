"""The service through its socket: what it answers, what it refuses, and what it never mixes up."""

from __future__ import annotations

import asyncio
import atexit
import base64
import gc
import hashlib
import io
import json
import logging
import os
import re
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from functools import cache
from gzip import decompress as gunzip
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeModel, MeanColours, colours, save_photo
from PIL import Image as Pillow
from pydantic import ValidationError

pytest.importorskip("fastapi", reason="the service needs mien[serve]")
pytest.importorskip("uvicorn", reason="the service needs mien[serve]")
httpx = pytest.importorskip("httpx", reason="asking the service needs httpx")

from benchmarks.serve import ways  # noqa: E402
from benchmarks.soak import END, FIELD, FORM, megabytes, soak  # noqa: E402
from mien import images  # noqa: E402
from mien.cli import main  # noqa: E402
from mien.cli.serve import _keys, _require_prefix  # noqa: E402
from mien.errors import BadInput  # noqa: E402
from mien.facebank.archive import sealed  # noqa: E402
from mien.facebank.facebank import Facebank  # noqa: E402
from mien.facebank.rows import Photo  # noqa: E402
from mien.recognition.detect import named  # noqa: E402
from mien.recognition.detect.mien_detector import MienDetector  # noqa: E402
from mien.recognition.detect.mtcnn import MTCNN  # noqa: E402
from mien.recognition.model import Model, load  # noqa: E402
from mien.serve.api_keys import Keys, Role  # noqa: E402
from mien.serve.app import make_app  # noqa: E402
from mien.serve.metrics import Metrics  # noqa: E402
from mien.serve.middleware import AccessMiddleware, Bodies, RateLimiter, Rejected, network_of  # noqa: E402
from mien.serve.problems import ERRORS  # noqa: E402
from mien.serve.schema import Vectors  # noqa: E402
from mien.serve.server import (  # noqa: E402
    Connections,
    OnceAMinute,
    bind,
    bind_unix,
    is_loopback,
    server,
)
from mien.serve.service import Limits, Service  # noqa: E402
from mien.serve.workers import Workers  # noqa: E402
from mien.types import Face, Image  # noqa: E402

ANNA, BERT, STRANGER = 1, 2, 3  # seeds
TOKEN = "secret of the tests"


def png(seed: int, *, faces: int = 1, side: int = 32) -> bytes:
    """A photo of the person of a seed, so many pixels high; see `fakes.save_photo`."""
    face = np.maximum(colours(seed), 1).repeat(side // 2, axis=0).repeat(side // 2, axis=1)
    buffer = io.BytesIO()
    Pillow.fromarray(np.tile(face, (1, faces, 1))).save(buffer, "PNG")
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes that says that it has many pixels, all black."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    row = zlib.compress(bytes(1 + 3 * width) * 100)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", row * 9) + chunk(b"IEND", b"")
    )


class Running:
    """A service that listens, and a client of it."""

    def __init__(self, port: int, facebank: Path, **headers: str) -> None:
        self.port, self.facebank = port, facebank
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60, trust_env=False
        )

    def enroll(self, name: str, photo: bytes, **fields: Any) -> Any:
        return self.client.post(
            f"/api/v1/people/{name}/photos", files={"photo": photo}, data=fields
        )

    def faces(self, photo: bytes) -> Any:
        """The faces in a photo, with their vectors and thumbnails."""
        fields = {"vectors": True, "thumbs": True}
        return self.client.post("/api/v1/identify", files={"photo": photo}, data=fields).json()[
            "faces"
        ]

    def embedded(self, name: str, faces: Any, **fields: Any) -> Any:
        """Enrols faces that were looked at before."""
        new = [
            {
                "vector": face["vector"],
                "confidence": face["confidence"],
                "size": 32,
                "picture": face["thumb"].partition(",")[2],
            }
            for face in faces
        ]
        made = {"model_id": self.model_id, "faces": new, **fields}
        return self.client.post(f"/api/v1/people/{name}/faces", json=made)

    @property
    def model_id(self) -> Any:
        return self.client.get("/api/v1/device").json()["model_id"]

    def grouped(self, faces: Any, photos: list[int], **fields: Any) -> Any:
        vectors = np.array([face["vector"] for face in faces], "<f4")
        files = {
            "vectors": vectors.tobytes(),
            "photos": np.array(photos, "<i4").tobytes(),
            "poor": bytes(face["poor"] for face in faces),
        }
        made = {"model_id": self.model_id, **fields}
        return self.client.post("/api/v1/groups", files=files, data=made)

    def identify(self, photo: bytes) -> Any:
        return self.client.post("/api/v1/identify", files={"photo": photo})

    def names(self, photo: bytes) -> list[str | None]:
        return [face["person"] for face in self.identify(photo).json()["faces"]]


class SlowInRed(FakeModel):
    """A model that takes a minute for a picture that begins red."""

    def detect(self, image: Image) -> list[Face]:
        if image[0, 0].tolist() == [255, 0, 0]:
            time.sleep(60)
        found: list[Face] = super().detect(image)
        return found


@cache
def workers() -> Workers:
    """One process, which all services in this process share."""
    pool = Workers(FakeModel, 1)
    atexit.register(pool.__exit__)
    pool.__enter__().wait()
    return pool


@contextmanager
def serving(
    folder: Path,
    model: Model | None = None,
    *,
    seconds: float = 10,
    token: str | None = None,
    keys: Keys | None = None,
    hosts: frozenset[str] | None = None,
    root_path: str = "",
    keep: bool = False,
    pool: Workers | None = None,
    proxy: str | None = None,
    **settings: Any,
) -> Iterator[Running]:
    """A service in a thread of this process."""
    facebank, metrics = folder / "facebank.db", Metrics()
    service = Service(
        model or FakeModel(),
        str(facebank),
        pool or workers(),
        keep=keep,
        count_faces=metrics.faces,
        **settings,
    )
    keys = Keys({token: Role.ALL}) if token else keys
    app = make_app(service, metrics, keys=keys, hosts=hosts, root_path=root_path)
    with bind("127.0.0.1", 0) as listening:
        running = server(app, seconds=seconds, proxy=proxy)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        client = Running(listening.getsockname()[1], facebank)
        try:
            yield client
        finally:
            client.client.close()
            running.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    """One that keeps faces, for this machine alone."""
    hosts = frozenset({"127.0.0.1"})
    with serving(tmp_path, keep=True, local=True, hosts=hosts) as running:
        yield running


def problem(answer: Any, status: int) -> str:
    """The sentence of an answer that says what is wrong."""
    assert answer.status_code == status, answer.text
    document = answer.json()
    assert set(document) == {"error", "code"}
    assert ERRORS[document["code"]][0] == status
    sentence = str(document["error"])
    assert len(sentence) > 10
    assert not re.search(r"--|\bmien \w|pip |<class|Value error", sentence)  # of a terminal
    return sentence


def test_nothing_is_reported_whatever_the_environment_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastapi.telemetry", reason="FastAPI before 0.165 reports nothing")
    from opentelemetry import trace

    class Provider(trace.TracerProvider):
        def get_tracer(self, *_: object, **__: object) -> trace.Tracer:
            raise AssertionError("FastAPI reports requests, and names are in their paths")

    monkeypatch.setattr(trace, "get_tracer_provider", Provider)
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with serving(tmp_path) as service:
        assert service.enroll("Anna", png(ANNA)).status_code == 201
        assert service.names(png(ANNA)) == ["Anna"]


def test_who_is_enrolled_is_identified(service: Running) -> None:
    assert service.client.get("/health").json()["status"] == "alive"
    assert service.names(png(ANNA)) == [None]
    answer = service.enroll("Anna", png(ANNA))
    assert answer.status_code == 201
    assert answer.json() | {"sha256": ""} == {
        "person": "Anna",
        "sha256": "",
        "added": True,
        "photos": 1,
    }
    assert service.names(png(ANNA)) == ["Anna"]
    assert service.names(png(BERT)) == [None]
    face = service.identify(png(ANNA)).json()
    assert (face["width"], face["height"], face["found"]) == (32, 32, 1)
    assert face["faces"][0]["box"] == [0, 0, 32, 32]
    again = service.enroll("Anna", png(ANNA))
    assert again.status_code == 200
    assert (again.json()["added"], again.json()["photos"]) == (False, 1)


def test_vectors_from_elsewhere_get_the_names_that_photos_get(service: Running) -> None:
    service.enroll("Anna", png(ANNA))
    crops = [np.asarray(Pillow.open(io.BytesIO(png(one))).resize((112, 112))) for one in (1, 2)]
    vectors = MeanColours()(np.stack(crops)).tolist()

    def match(vectors: Any, model_id: str = MeanColours.model_id) -> Any:
        return service.client.post("/api/v1/match", json={"model_id": model_id, "vectors": vectors})

    found = match(vectors).json()
    assert [one["person"] for one in found["matches"]] == ["Anna", None]
    assert found["threshold"] == 0.9
    assert match([]).json()["matches"] == []
    assert "not of" in problem(match(vectors, "another"), 422)
    assert "64 faces" in problem(match(vectors[:1] * 65), 422)
    for bad in ([1.0], [0.0] * 12, [2.0] * 12, [1e300] * 12, vectors[0] + [0.0]):
        assert "12 dimensions and length 1" in problem(match([vectors[0], bad]), 422)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mien", {"threshold": MienDetector(threads=1).threshold}),
        ("mtcnn", {"factor": 0.709, "thresholds": [0.7, 0.7, 0.7]}),
    ],
)
def test_the_networks_that_run_are_given_away(
    tmp_path: Path, model_file: Path, name: str, settings: dict[str, Any]
) -> None:
    detector = named(name, threads=1)
    assert isinstance(detector, MienDetector | MTCNN)
    with serving(tmp_path, load(model_file, detector=detector)) as service:
        told = service.client.get("/api/v1/device").json()
        assert told["model_id"] == MeanColours.model_id
        networks = list(detector.networks)
        assert told["detector"] == {"name": name, "networks": networks, "min_face": 40} | settings
        assert told["missing"] is None or "make page" in told["missing"]
        get = service.client.get
        assert get("/api/v1/networks/embed").content == model_file.read_bytes()
        for one in networks:
            assert get(f"/api/v1/networks/{one}").content == detector.network(one)
        problem(get("/api/v1/networks/other"), 422)


def test_what_a_browser_cannot_run_is_said(service: Running) -> None:
    told = service.client.get("/api/v1/device").json()
    assert told["detector"] is None
    assert "browsers cannot run" in told["missing"]
    problem(service.client.get("/api/v1/networks/propose"), 404)


def test_photos_are_decoded_elsewhere_and_reach_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), np.uint8)
    large = io.BytesIO()
    Pillow.fromarray(noise).save(large, "PNG")
    photo = large.getvalue()
    assert len(photo) > 1 << 20
    elsewhere = save_photo(tmp_path / "people/Bert/1.png", BERT)
    with serving(tmp_path, keep=True, local=True) as service:
        with Facebank.open(service.facebank) as bank:
            sha256 = hashlib.sha256(elsewhere.read_bytes()).hexdigest()
            known = Photo("Bert", sha256, str(tmp_path / "people"), "Bert/1.png", 1, 32)
            bank.add([known], MeanColours()(np.zeros((1, 112, 112, 3), np.uint8)))

        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("a photo is decoded in the service's own process")

        monkeypatch.setattr(images, "decode", refuse)
        monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
        assert service.enroll("Anna", photo).status_code == 201
        assert service.names(photo) == ["Anna"]
        files = {"first": photo, "second": photo}
        assert service.client.post("/api/v1/compare", files=files).json()["same"]
        assert service.embedded("Anna", service.faces(photo)).status_code == 201
        assert service.client.get(f"/api/v1/photos/{sha256}").status_code == 200


def test_one_face_of_several_is_named_by_a_point_in_it(service: Running) -> None:
    both = png(ANNA, faces=2)
    sentence = problem(service.enroll("Anna", both), 422)
    assert "2 faces" in sentence and "--" not in sentence
    assert "no face" in problem(service.enroll("Anna", both, x=10_000, y=3), 422)
    assert "both" in problem(service.enroll("Anna", both, x=3), 422)
    first, second = (service.enroll("Anna", both, x=x, y=3).json() for x in (3, 40))
    assert first["sha256"] != second["sha256"] or not second["added"]


def test_rename_merge_and_delete(service: Running) -> None:
    first = service.enroll("Anna", png(ANNA)).json()["sha256"]
    service.enroll("Bert", png(BERT))
    patch = service.client.patch
    assert "is in the facebank" in problem(
        patch("/api/v1/people/Anna", json={"person": "Bert"}), 409
    )
    renamed = patch("/api/v1/people/Anna", json={"person": "Ann"}).json()
    assert renamed == {"person": "Ann", "photos": 1, "cover": first}
    merged = patch("/api/v1/people/Ann", json={"person": "Bert", "merge": True}).json()
    assert (merged["person"], merged["photos"]) == ("Bert", 2)
    gone = service.client.delete(f"/api/v1/people/Bert/photos/{first}").json()
    assert gone == {"person": "Bert", "deleted": 1, "photos": 1, "elsewhere": 0}
    assert service.names(png(ANNA)) == [None]
    assert service.client.delete("/api/v1/people/Bert").json()["photos"] == 0
    assert service.client.get("/api/v1/people").json()["people"] == []
    problem(service.client.delete("/api/v1/people/Bert"), 404)


def test_kept_faces_are_shown_and_leave_with_their_person(service: Running, tmp_path: Path) -> None:
    sha256 = service.enroll("Anna", png(ANNA)).json()["sha256"]
    assert service.client.get("/api/v1/people/Anna/photos").json()["photos"][0]["shown"]
    shown = service.client.get(f"/api/v1/photos/{sha256}")
    assert shown.headers["content-type"] == "image/png"
    assert Pillow.open(io.BytesIO(shown.content)).size == (32, 32)
    assert len(list((tmp_path / "facebank.db.photos").rglob("*.png"))) == 1
    service.client.delete("/api/v1/people/Anna")
    assert list((tmp_path / "facebank.db.photos").iterdir()) == []
    problem(service.client.get(f"/api/v1/photos/{sha256}"), 404)


def test_kept_faces_are_their_owners_alone_and_name_nobody(tmp_path: Path) -> None:
    kept = tmp_path / "facebank.db.photos"
    with serving(tmp_path, keep=True) as service:
        sha256 = service.enroll("Anna", png(ANNA)).json()["sha256"]
        (file,) = kept.iterdir()
        assert file.name == f"{sha256}.png"
        assert (kept.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    # As older services have left it, and one that was killed between two writes.
    (kept / "Anna").mkdir()
    file.rename(kept / f"Anna/{sha256[:16]}.png")
    (kept / "Anna/0123.png").write_bytes(png(ANNA))
    for path in (kept, *kept.rglob("*")):
        path.chmod(0o755)
    with Facebank.open(tmp_path / "facebank.db") as bank:
        (photo,) = bank.photos()
        bank.move([replace(photo, file=f"Anna/{sha256[:16]}.png")])
    with serving(tmp_path, keep=True) as service:
        assert [path.name for path in kept.rglob("*")] == [f"{sha256}.png"]
        assert (kept.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
        assert service.client.get(f"/api/v1/photos/{sha256}").status_code == 200
        assert service.names(png(ANNA)) == ["Anna"]


def test_nothing_is_kept_unless_asked(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        sha256 = service.enroll("Anna", png(ANNA)).json()["sha256"]
        problem(service.client.get(f"/api/v1/photos/{sha256}"), 404)
    assert [path.name for path in tmp_path.iterdir()] == ["facebank.db"]


def test_files_elsewhere_are_shown_to_this_machine_alone(tmp_path: Path) -> None:
    photo = save_photo(tmp_path / "people/Anna/1.png", ANNA)
    with Facebank.create(tmp_path / "facebank.db", model_id=MeanColours.model_id, dim=12) as bank:
        vector = MeanColours()(np.zeros((1, 112, 112, 3), np.uint8))
        sha256 = hashlib.sha256(photo.read_bytes()).hexdigest()
        bank.add([Photo("Anna", sha256, str(tmp_path / "people"), "Anna/1.png", 1, 32)], vector)
    for local, status in ((True, 200), (False, 404)):
        with serving(tmp_path, local=local) as service:
            assert service.client.get(f"/api/v1/photos/{sha256}").status_code == status
    with serving(tmp_path, local=True) as service:
        photo.write_bytes(png(BERT))
        assert (
            service.client.get(f"/api/v1/photos/{sha256}").status_code == 404
        )  # another picture now
        assert service.client.delete("/api/v1/people/Anna").json()["elsewhere"] == 1
    assert photo.is_file()


def test_faces_are_grouped_by_their_vectors(service: Running) -> None:
    photos = [png(seed, side=64) for seed in (ANNA, BERT, STRANGER, BERT)]
    faces = [face for photo in photos for face in service.faces(photo)]
    assert faces[0]["thumb"].startswith("data:image/jpeg")
    assert service.grouped(faces, [0, 1, 2, 3]).json()["groups"] == [[1, 3]]
    assert service.grouped([], []).json()["groups"] == []
    assert "send as many" in problem(service.grouped(faces, [0, 1]), 422)
    assert "not of" in problem(service.grouped(faces, [0, 1, 2, 3], model_id="other"), 422)
    faces[0]["vector"][0] += 1
    assert "length 1" in problem(service.grouped(faces, [0, 1, 2, 3]), 422)
    many = [{"vector": [0.0], "poor": False}] * 5001
    assert "5001 faces" in problem(service.grouped(many, [0]), 422)


def test_faces_are_enrolled_without_being_looked_at_again(service: Running) -> None:
    anna, bert = service.faces(png(ANNA)), service.faces(png(BERT))
    done = service.embedded("Anna", anna + bert)
    assert done.status_code == 201
    assert (done.json()["added"], done.json()["photos"]) == (done.json()["sha256"], 2)
    again = service.embedded("anna", anna)
    assert (again.status_code, again.json()["added"]) == (200, [])
    assert "Anna's already" in problem(service.embedded("Bert", bert), 409)
    moved = service.embedded("Bert", bert, move=True).json()
    assert (moved["person"], moved["added"], moved["photos"]) == ("Bert", moved["sha256"], 1)
    assert service.names(png(BERT)) == ["Bert"]
    kept = service.client.get(f"/api/v1/photos/{moved['sha256'][0]}")
    assert Pillow.open(io.BytesIO(kept.content)).size == (96, 96)

    bert[0]["thumb"] = ""  # nothing to be shown
    sha256 = service.embedded("Bert", bert).json()["sha256"][0]
    assert service.client.get(f"/api/v1/photos/{sha256}").status_code == 404
    bert[0]["thumb"] = "data:," + base64.b64encode(b"no picture").decode()
    assert "picture" in problem(service.embedded("Bert", bert), 422)
    assert "faces" in problem(service.embedded("Bert", []), 422)
    assert "not of" in problem(service.embedded("Bert", anna, model_id="other"), 422)
    anna[0]["vector"] = anna[0]["vector"][:-1]
    assert "dimensions" in problem(service.embedded("Bert", anna), 422)


def test_some_of_somebodys_photos_go_to_another(service: Running) -> None:
    first, second = service.embedded(
        "Anna", service.faces(png(ANNA)) + service.faces(png(BERT))
    ).json()["sha256"]
    patch = service.client.patch
    moved = patch("/api/v1/people/Anna", json={"person": "Bert", "photos": [second]}).json()
    assert (moved["person"], moved["photos"], moved["cover"]) == ("Bert", 1, second)
    assert service.names(png(BERT)) == ["Bert"]
    problem(patch("/api/v1/people/Anna", json={"person": "Carl", "photos": [second]}), 404)
    taken = {"person": "Bert", "photos": [first]}
    assert "already" in problem(patch("/api/v1/people/Anna", json=taken), 409)
    both = patch("/api/v1/people/Anna", json={**taken, "merge": True}).json()
    assert (both["person"], both["photos"]) == ("Bert", 2)


def test_metrics_count_and_name_nobody(service: Running) -> None:
    service.enroll("Anna", png(ANNA))
    text = service.client.get("/metrics").text
    line = 'mien_requests_total{route="/api/v1/people/{name}/photos",status="201"} 1.0'
    assert line in text
    assert "mien_faces_total 1.0" in text
    assert "Anna" not in text


@pytest.mark.parametrize(
    ("photo", "status"),
    [
        (b"", 422),
        (b"no picture", 422),
        (png(ANNA)[:60], 422),
        (bomb(10_000, 10_000), 422),
        (bytes(2 << 20), 413),
    ],
    ids=["empty", "text", "truncated", "bomb", "huge"],
)
def test_bad_photos_get_a_sentence(tmp_path: Path, photo: bytes, status: int) -> None:
    with serving(tmp_path, limits=Limits(bytes=1 << 20)) as service:
        problem(service.identify(photo), status)
        assert service.names(png(ANNA)) == [None]  # and it goes on


def test_a_huge_body_without_a_length_is_cut_off(tmp_path: Path) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
        while sent < 1 << 30:
            sent += 1 << 16
            yield bytes(1 << 16)

    with serving(tmp_path, limits=Limits(bytes=1 << 20)) as service:
        head = {"Content-Type": "multipart/form-data; boundary=x"}
        try:
            answer = service.client.post("/api/v1/identify", content=endless(), headers=head)
            assert answer.status_code == 413
        except httpx.TransportError:  # it hung up while this was still sending
            pass
        assert sent < 64 << 20


def test_a_slow_client_is_sent_away_and_holds_up_nobody(tmp_path: Path) -> None:
    with ExitStack() as open_:
        service = open_.enter_context(serving(tmp_path, limits=Limits(seconds=1)))
        slow = socket.create_connection(("127.0.0.1", service.port), timeout=10)
        with open_.enter_context(closing(slow)):
            slow.sendall(
                b"POST /api/v1/identify HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x"
            )
            assert service.client.get("/api/v1/people").status_code == 200
            assert slow.recv(100).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nHost: a"])
def test_who_does_not_end_the_headers_is_hung_up_on(tmp_path: Path, sent: bytes) -> None:
    with serving(tmp_path, seconds=1) as service:
        address = ("127.0.0.1", service.port)
        with closing(socket.create_connection(address, timeout=10)) as slow:
            for _ in range(3):  # each byte is in time, and all of them are not
                slow.sendall(sent[:1])
                sent = sent[1:]
                time.sleep(0.1)
            slow.sendall(sent)
            assert slow.recv(100) == b""
        with closing(HTTPConnection(*address, timeout=10)) as quick:
            quick.request("GET", "/health")
            quick.getresponse().read()
            kept = quick.sock
            time.sleep(1.5)  # between two requests there is other time, as uvicorn has it
            quick.request("GET", "/health")
            assert quick.sock is kept is not None
            assert quick.getresponse().status == 200


def test_a_photo_that_takes_too_long_costs_its_sender_alone(tmp_path: Path) -> None:
    with (
        Workers(SlowInRed, 1) as pool,
        serving(tmp_path, pool=pool, limits=Limits(seconds=4)) as service,
    ):
        pool.wait()
        red = io.BytesIO()
        Pillow.new("RGB", (32, 32), "red").save(red, "PNG")
        answer = service.identify(red.getvalue())
        assert "longer than 4 seconds" in problem(answer, 503)
        assert answer.headers["retry-after"] == "1"
        deadline = time.monotonic() + 20  # for another process to start
        while (answer := service.identify(png(ANNA))).status_code == 503:
            assert time.monotonic() < deadline
        assert answer.status_code == 200


def test_ready_says_whether_a_photo_would_wait(tmp_path: Path) -> None:
    with (
        Workers(SlowInRed, 1) as pool,
        serving(tmp_path, pool=pool, at_once=1, limits=Limits(seconds=5)) as service,
        ThreadPoolExecutor(1) as client,
    ):
        pool.wait()
        assert service.client.get("/ready").json()["status"] == "ready"
        red = io.BytesIO()
        Pillow.new("RGB", (32, 32), "red").save(red, "PNG")
        slow = client.submit(Running(service.port, service.facebank).identify, red.getvalue())
        deadline = time.monotonic() + 20
        while service.client.get("/ready").status_code == 200:
            assert time.monotonic() < deadline
        problem(service.client.get("/ready"), 503)
        assert service.client.get("/health").json()["status"] == "alive"
        problem(slow.result(), 503)
        assert service.client.get("/ready").status_code == 200


def test_bodies_that_find_no_room_wait_for_it(tmp_path: Path) -> None:
    photo = png(ANNA) + bytes(20_000)
    with serving(tmp_path, limits=Limits(held=30_000)) as service, ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(service.identify, [photo] * 8))
        assert {answer.status_code for answer in answers} == {200}
        assert service.identify(photo * 2).status_code == 200  # alone, it is looked at


def test_who_arrives_for_longest_always_finds_room() -> None:
    part = {"body": bytes(1500), "more_body": True}

    async def come() -> None:
        bodies = Bodies(1000)
        async with bodies.one() as first, bodies.one() as second:
            await bodies.room_for(first)
            await bodies.grow(first, part)
            assert bodies.has_room_for(first)
            waiting = asyncio.create_task(bodies.room_for(second))
            await asyncio.sleep(0.01)
            assert not waiting.done()
            await bodies.grow(first, {"body": b""})  # its end: the other has been so for longest
            await asyncio.wait_for(waiting, 5)
            await bodies.grow(second, part)
        async with bodies.one() as third, bodies.one() as fourth:
            await bodies.room_for(third)
            assert bodies.has_room_for(fourth)

    asyncio.run(come())


def test_who_finds_no_room_in_time_is_told_to_come_again() -> None:
    statuses: list[int] = []
    headers = [(b"host", b"a"), (b"content-type", b"multipart/form-data")]
    scope: dict[str, Any] = {"type": "http", "path": "/api/v1/identify", "headers": headers}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            while (await receive())["more_body"]:
                pass
        except Rejected as error:
            statuses.append(error.status_code)
            await asyncio.sleep(0.5)  # what it holds stays in hand

    async def send(_: Any) -> None:
        pass

    async def receive() -> Any:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": bytes(1000), "more_body": True}

    async def come() -> None:
        limits = Limits(held=1500, seconds=0.3)
        gate = AccessMiddleware(app, limits=limits, json=0, keys=None, hosts=None)
        await asyncio.gather(*(gate(dict(scope), receive, send) for _ in range(3)))

    asyncio.run(come())
    assert sorted(statuses) == [408, 503, 503]


def test_only_so_many_faces_are_looked_at(tmp_path: Path) -> None:
    with serving(tmp_path, limits=Limits(faces=2)) as service:
        answer = service.identify(png(ANNA, faces=5)).json()
        assert (answer["found"], len(answer["faces"])) == (5, 2)


def test_the_token(tmp_path: Path) -> None:
    with serving(tmp_path, token=TOKEN) as service:
        for sent in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            problem(service.client.get("/api/v1/people", headers=sent), 401)
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert service.client.get("/api/v1/people", headers=right).status_code == 200
        assert service.client.get("/health").status_code == 200
        assert service.client.get("/").status_code == 200
        problem(service.client.get("/metrics"), 401)
        problem(service.client.get("/page/../people"), 401)


def test_the_token_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_TOKEN", "")
    assert _keys(None) is None
    monkeypatch.setenv("MIEN_TOKEN", f" {TOKEN}\n")
    keys = _keys(None)
    assert keys and keys.role(TOKEN) is Role.ALL
    file = tmp_path / "token"
    file.write_text("another that is long\n")
    keys = _keys(file)
    assert keys and keys.role("another that is long") is Role.ALL
    assert keys.role(TOKEN) is None
    file.write_text(
        "# the door\nidentify  0123456789abcdef\n\nenroll fedcba9876543210\nall zyxwvu9876543210"
    )
    keys = _keys(file)
    assert keys
    tokens = ("0123456789abcdef", "fedcba9876543210", "zyxwvu9876543210")
    assert [keys.role(token) for token in tokens] == list(Role)
    twice = b"identify 0123456789abcdef\nall 0123456789abcdef"
    long = "langer schlüssel".encode()
    for content in (b"", b"# nothing", b"\xff", long, b"more than\ntwo lines", b"x" * 15, twice):
        file.write_bytes(content)
        with pytest.raises(BadInput):
            _keys(file)


def test_a_new_token_is_one_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    tokens = []
    for _ in range(2):
        with pytest.raises(SystemExit, match="0"):
            main(["serve", "--new-token"])
        tokens.append(capsys.readouterr().out.strip())
    assert tokens[0] != tokens[1]
    assert len(tokens[0]) > 40 and tokens[0].isascii()


def test_other_sites_and_other_names_are_refused(service: Running) -> None:
    problem(service.client.get("/api/v1/people", headers={"Origin": "http://evil.example"}), 403)
    problem(service.client.get("/api/v1/people", headers={"Origin": "null"}), 403)
    problem(service.client.get("/api/v1/people", headers={"Host": "evil.example"}), 403)
    problem(service.client.get("/api/v1/people", headers={"Origin": "http://[evil"}), 400)
    problem(service.client.get("/api/v1/people", headers={"Host": "[evil"}), 400)
    for site in ("cross-site", "same-site"):  # a picture or a link there, without Origin
        problem(service.client.get("/api/v1/people", headers={"Sec-Fetch-Site": site}), 403)
        assert service.client.get("/", headers={"Sec-Fetch-Site": site}).status_code == 200
    for site in ("same-origin", "none"):
        assert (
            service.client.get("/api/v1/people", headers={"Sec-Fetch-Site": site}).status_code
            == 200
        )
    own = {"Origin": f"http://127.0.0.1:{service.port}"}
    answer = service.client.get("/api/v1/people", headers=own)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_who_asks_too_often_waits(tmp_path: Path) -> None:
    with serving(tmp_path, limits=Limits(rate=1)) as service:
        answers = [service.client.get("/api/v1/people") for _ in range(4)]
        assert answers[0].status_code == 200
        problem(answers[-1], 429)
        assert answers[-1].headers["retry-after"] == "1"


def test_only_a_proxy_says_who_asks(tmp_path: Path) -> None:
    def statuses(**settings: Any) -> set[int]:
        with serving(tmp_path, limits=Limits(rate=1), **settings) as service:
            return {
                service.client.get(
                    "/api/v1/people", headers={"X-Forwarded-For": f"10.0.0.{n}"}
                ).status_code
                for n in range(4)
            }

    assert statuses() == {200, 429}
    assert statuses(proxy="127.0.0.0/8") == {200}


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        ("x" * 9999, ""),
    ],
)
def test_a_customer_has_all_of_a_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_connections_are_counted() -> None:
    connections = Connections(most=5, each=2, proxy="10.1.0.0/16")
    assert [connections.admits("10.0.0.1") for _ in range(3)] == [True, True, False]
    assert connections.admits("10.1.2.3") and connections.admits("10.1.2.3")
    assert connections.admits("127.0.0.1")
    assert not connections.admits("127.0.0.1")
    connections.leaves("10.0.0.1")
    assert connections.admits("127.0.0.1")


def test_too_many_connections_are_refused_and_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.serve.server.MOST", 4)
    with ExitStack() as open_, serving(tmp_path, seconds=30) as service:
        address = ("127.0.0.1", service.port)

        def connect() -> socket.socket:
            return open_.enter_context(closing(socket.create_connection(address, timeout=10)))

        held = [connect() for _ in range(4)]
        with suppress(ConnectionResetError):
            assert connect().recv(100) == b""
        held.pop().close()
        deadline = time.monotonic() + 10
        while True:
            with suppress(httpx.TransportError):
                assert service.client.get("/health").status_code == 200
                break
            assert time.monotonic() < deadline


def test_who_takes_no_answer_is_hung_up_on() -> None:
    size = 32 << 20

    async def large(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(size >> 16):
            await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
        await send({"type": "http.response.body"})

    with bind("127.0.0.1", 0) as listening, ExitStack() as open_:
        running = server(large, seconds=1)
        running.config.lifespan = "off"
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            for close in (b"", b"Connection: close\r\n"):
                client = socket.create_connection(listening.getsockname(), timeout=20)
                open_.enter_context(closing(client))
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n" + close + b"\r\n")
            deadline = time.monotonic() + 15
            while not running.server_state.connections:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            while running.server_state.connections:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            assert len(httpx.get(url, timeout=60, trust_env=False).content) == size
        finally:
            running.should_exit = True
            thread.join(20)
        assert not thread.is_alive()


def test_a_log_has_each_kind_of_line_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("test of lines")
    log.addFilter(OnceAMinute())
    for number in range(1000):
        log.error("%s", BadInput(f"photo {number}"))
        log.error("%s", OSError(f"file {number}"))
        log.warning("invalid request\nof %s", number)
    assert len(caplog.records) == 3


def test_a_broken_body_is_no_fault_of_the_server(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    head = (
        b"POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    identify, nothing = head % b"/api/v1/identify", head % b"/nothing"
    with serving(tmp_path) as service:

        def status(*parts: bytes) -> bytes:
            address = ("127.0.0.1", service.port)
            with closing(socket.create_connection(address, timeout=10)) as client:
                for part in parts:
                    client.sendall(part)
                    time.sleep(0.2)  # the route waits for the body, or has answered without it
                return client.recv(12)[9:]

        assert status(identify, b"zz\r\n") == b"400"
        assert status(identify, b"5\r\n--x\r\nzz\r\n") == b"400"
        assert status(identify + b"\xff\xff\r\n") == b"400"
        assert status(nothing + b"zz\r\n") == b"400"
        assert status(nothing, b"zz\r\n") == b"404"
        assert status(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n\xff\r\n\r\n") == b"200"
        form = {"Content-Type": "multipart/form-data; boundary=x"}
        problem(service.client.post("/api/v1/identify", content=b"no form", headers=form), 400)
        assert service.names(png(ANNA)) == [None]
    assert re.fullmatch(r"WARNING: +Invalid HTTP request received.\n", capfd.readouterr().err)


def test_nobody_is_sent_elsewhere(service: Running) -> None:
    for path in ("/api/v1/people/", "/page", "/health/"):
        answer = service.client.get(path)
        assert answer.status_code == 404
        assert "location" not in answer.headers


def test_json_is_small_and_its_first_error_is_the_answer(service: Running) -> None:
    def match(content: bytes) -> Any:
        head = {"Content-Type": "application/json"}
        return service.client.post("/api/v1/match", content=content, headers=head)

    with pytest.raises(ValidationError) as caught:
        Vectors.model_validate({"model_id": "m", "vectors": [["x"] * 1000] * 1000})
    assert caught.value.error_count() == 1
    vectors = [[0.12345678901234567] * 12] * 64  # as many as there may be, and as long
    fits = json.dumps({"model_id": MeanColours.model_id, "vectors": vectors}).encode()
    assert "length 1" in problem(match(fits), 422)
    assert problem(match(b'{"model_id": "m", "vectors": [["x", "x"]]}'), 422).startswith(
        "vectors 0 0"
    )
    problem(match(b"[" * 20_000), 400)
    problem(match(fits + b" " * 20_000), 413)
    rename = service.client.patch("/api/v1/people/Anna", json={"person": "x" * 40_000})
    problem(rename, 413)


def test_no_request_keeps_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worst, run = 0.0, asyncio.Handle._run

    def timed(self: asyncio.Handle) -> None:
        nonlocal worst
        start = time.thread_time()  # of a processor: others may have it meanwhile
        run(self)
        worst = max(worst, time.thread_time() - start)

    fields = "".join(f'{FIELD}name="a{n}"\r\n\r\n1\r\n' for n in range(20_000)).encode() + END
    part = f'{FIELD}name="photos"; filename="x"\r\n\r\n1\r\n'
    photos = (part * 999).encode() + END
    breaks = f'{FIELD}name="photo"; filename="x"\r\n\r\n'.encode() + b"\r\n-" * 6_000_000
    lines = f'{FIELD}name="archive"; filename="x"\r\n\r\n'.encode() + b"{}\n" * 6_000_000
    json_ = "application/json"
    bodies = [
        ("match", json_, b'{"model_id": "m", "vectors": [[' + b'"x",' * 7000 + b'"x"]]}'),
        ("match", json_, b'{"model_id": "m", "vectors": [' + b"[]," * 9000 + b"[]]}"),
        ("match", json_, b'{"model_id": "m", "vectors": [[' + b"9" * 28_000 + b"]]}"),
        ("match", json_, b"[" * 28_000),
        ("identify", "application/x-www-form-urlencoded", b"a=1&" * 7000),
        ("identify", FORM, fields),
        ("identify", FORM, breaks + b"\r\n" + END),
        ("identify/batch", FORM, photos),
        ("groups", FORM, photos),
        ("import", FORM, lines + b"\r\n" + END),
    ]
    with serving(tmp_path) as service:
        gc.disable()  # what this process has beside the service would be looked through
        monkeypatch.setattr(asyncio.Handle, "_run", timed)
        try:
            for path, kind, body in bodies:
                answer = service.client.post(
                    f"/api/v1/{path}", content=body, headers={"Content-Type": kind}
                )
                assert answer.status_code != 500
        finally:
            gc.enable()
    assert 0 < worst < 0.05


def test_a_name_in_other_letters_is_the_same_persons(service: Running) -> None:
    service.enroll("Anna", png(ANNA))
    service.enroll("Bert", png(BERT))
    for name in ("anna", "ANNA", "\uff21nna"):
        assert service.enroll(name, png(STRANGER)).json()["person"] == "Anna"
    patch = service.client.patch
    assert "Anna is in the facebank" in problem(
        patch("/api/v1/people/Bert", json={"person": "anna"}), 409
    )
    assert patch("/api/v1/people/Anna", json={"person": "anna"}).json()["person"] == "anna"
    merged = patch("/api/v1/people/Bert", json={"person": "ANNA", "merge": True}).json()
    assert (merged["person"], merged["photos"]) == ("anna", 3)


def test_what_cannot_be_a_name_is_said(service: Running) -> None:
    for name in ("\u200b", "unknown\u200b", "\u202eevil", "日" * 100, "a" * 256):
        sentence = problem(service.enroll(name, png(ANNA)), 422)
        assert "--" not in sentence
    assert service.enroll("日" * 85, png(ANNA)).status_code == 201


def test_a_log_names_nobody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(tmp_path) as service:
        service.enroll("Anna", png(ANNA))
        with closing(sqlite3.connect(service.facebank)) as db:
            db.execute("UPDATE photo SET size = 1")
            db.commit()
        problem(service.client.get("/api/v1/people/Anna/photos"), 503)
    log = capfd.readouterr().err
    assert "photo 1 is damaged" in log
    assert "Anna" not in log


def test_a_rate_is_for_each_sender_and_comes_back() -> None:
    rates = RateLimiter(2)
    assert [rates.allows("a", 0) for _ in range(5)] == [True] * 4 + [False]
    assert rates.allows("b", 0)
    assert rates.allows("a", 0.5)
    assert not rates.allows("a", 0.6)


@pytest.mark.parametrize(
    ("host", "yes"),
    [
        *(("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.9.9.9", True)),
        *(("0.0.0.0", False), ("::", False), ("192.168.1.2", False), ("localhost.evil", False)),
    ],
)
def test_loopback(host: str, yes: bool) -> None:
    assert is_loopback(host) is yes


def test_a_port_that_is_taken_is_said(service: Running) -> None:
    with pytest.raises(BadInput, match=f"cannot listen on 127.0.0.1 port {service.port}"):
        bind("127.0.0.1", service.port)


def test_no_answer_tells_where_the_server_keeps_things(service: Running, tmp_path: Path) -> None:
    service.enroll("Anna", png(ANNA))
    ask = service.client
    answers = [
        *(service.identify(png(ANNA)), service.identify(b"x"), service.enroll("a/b", png(ANNA))),
        *(
            ask.get("/api/v1/people"),
            ask.get("/api/v1/people/Anna/photos"),
            ask.get("/api/v1/people/No/photos"),
        ),
        *(
            ask.get("/api/v1/facebank"),
            ask.get("/health"),
            ask.get("/metrics"),
            ask.get("/openapi.json"),
        ),
        ask.get("/page/../../app.py"),
    ]
    service.facebank.write_bytes(b"damaged" * 1000)
    answers.append(ask.get("/api/v1/people"))
    assert answers[-1].status_code == 503
    assert not [answer.text for answer in answers if str(tmp_path) in answer.text]
    assert not [answer.text for answer in answers if "/mien/" in answer.text]


def test_a_thousand_clients_are_answered_or_told_to_wait(service: Running) -> None:
    body = png(ANNA)
    head = (
        "POST /api/v1/identify HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {}\r\n\r\n"
    )
    part = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
    content = part + body + b"\r\n--x--\r\n"
    connections = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(1000)]
    try:
        for connection in connections:
            connection.settimeout(60)
            connection.sendall(head.format(len(content)).encode() + content)
        statuses = [int(connection.recv(65536).split()[1]) for connection in connections]
    finally:
        for connection in connections:
            connection.close()
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 200
    assert service.names(body) == [None]


def test_what_nobody_reads_is_refused(service: Running) -> None:
    ask, photo = service.client, {"photo": png(ANNA)}
    person = "/api/v1/people/Anna"
    assert "'tpo'" in problem(ask.post("/api/v1/identify", files=photo, data={"tpo": 1}), 422)
    assert "'top'" in problem(ask.post("/api/v1/identify?top=1", files=photo), 422)
    assert "'page'" in problem(ask.get("/api/v1/people?page=2"), 422)
    assert "takes none" in problem(ask.get("/api/v1/facebank?x"), 422)
    twice = {"x": ["1", "2"], "y": "3"}
    assert "2 times" in problem(ask.post(f"{person}/photos", files=photo, data=twice), 422)
    both = [("photo", png(ANNA)), ("photo", png(BERT))]
    assert "2 times" in problem(ask.post("/api/v1/identify", files=both), 422)
    assert "'merg'" in problem(ask.patch(person, json={"person": "A", "merg": True}), 422)
    vectors = {"model_id": "m", "vectors": [], "tpo": 3}
    assert "'tpo'" in problem(ask.post("/api/v1/match", json=vectors), 422)
    for top in ("33", "-1", "x", "1.5"):
        assert "top" in problem(ask.post("/api/v1/identify", files=photo, data={"top": top}), 422)
    assert "photo is missing" in problem(ask.post("/api/v1/identify", json={}), 422)
    text = {"photo": (None, b"text")}
    assert "must be a file" in problem(ask.post("/api/v1/identify", files=text), 422)
    problem(ask.post("/api/v1/identify", data={"photo": "text"}), 415)
    many = {f"x{number}": "1" for number in range(10_000)}
    problem(ask.post("/api/v1/match", data=many), 415)


def test_methods_are_those_of_http(service: Running) -> None:
    ask = service.client
    for path in ("/health", "/api/v1/people", "/", "/page/app.js", "/openapi.json"):
        head, got = ask.head(path), ask.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == got.headers["content-length"]
    assert ask.head("/api/v1/people/Nobody").status_code == 404
    for method, path, allowed in (
        ("PUT", "/api/v1/people/Anna", {"HEAD", "GET", "PATCH", "DELETE"}),
        ("GET", "/api/v1/identify", {"POST"}),
        ("OPTIONS", "/api/v1/people/Anna/photos", {"HEAD", "GET", "POST"}),
        ("POST", "/health", {"HEAD", "GET"}),
        ("DELETE", "/page/app.js", {"HEAD", "GET"}),
    ):
        answer = ask.request(method, path)
        problem(answer, 405)
        assert set(answer.headers["allow"].split(", ")) == allowed


def test_a_face_has_candidates_and_a_vector_where_they_are_asked_for(service: Running) -> None:
    for name, seed in (("Anna", ANNA), ("Bert", BERT)):
        service.enroll(name, png(seed))

    def faces(**fields: Any) -> Any:
        files = {"photo": png(ANNA, faces=fields.pop("of", 1))}
        return service.client.post("/api/v1/identify", files=files, data=fields).json()["faces"]

    told = {"person", "score", "nearest", "confidence", "box", "points", "turned"}
    assert all(set(face) == told for face in faces())
    assert [len(faces(of=3, limit=number)) for number in (1, 2, 9)] == [1, 2, 3]
    (face,) = faces(limit=1, top=9, vectors=True)
    assert [one["person"] for one in face["candidates"]] == ["Anna", "Bert"]
    assert face["candidates"][0] == {"person": "Anna", "score": face["score"]}
    assert np.linalg.norm(face["vector"]) == pytest.approx(1, abs=1e-5)
    (face,) = faces(limit=1, min_score=1, top=1)
    assert face["person"] is None or face["score"] >= 1
    assert face["candidates"][0]["person"] == "Anna"
    assert faces(min_score=-1)[0]["person"] == "Anna"


def test_many_photos_are_told_one_by_one(service: Running) -> None:
    service.enroll("Anna", png(ANNA))
    files = [("photos", one) for one in (png(ANNA), b"no picture", png(BERT, faces=2))]
    with service.client.stream("POST", "/api/v1/identify/batch", files=files) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        lines = {one["photo"]: one for one in map(json.loads, answer.iter_lines())}
    assert set(lines) == {0, 1, 2}
    assert {"photo": 0, **service.identify(png(ANNA)).json()} == lines[0]
    assert lines[1]["code"] == "invalid" and "convert it" in lines[1]["error"]
    assert lines[2]["found"] == 2


def test_the_first_of_many_photos_is_told_before_the_last_is_done(tmp_path: Path) -> None:
    red = io.BytesIO()
    Pillow.new("RGB", (32, 32), "red").save(red, "PNG")
    with (
        Workers(SlowInRed, 1) as pool,
        serving(tmp_path, pool=pool, limits=Limits(seconds=3)) as service,
    ):
        pool.wait()
        files = [("photos", png(ANNA)), ("photos", red.getvalue())]
        with service.client.stream("POST", "/api/v1/identify/batch", files=files) as answer:
            lines, start = answer.iter_lines(), time.monotonic()
            assert json.loads(next(lines))["photo"] == 0
            assert time.monotonic() - start < 2.5
            assert json.loads(next(lines))["code"] == "busy"


def test_a_photo_is_compared_with_one_person(service: Running) -> None:
    service.enroll("Anna", png(ANNA))
    service.enroll("Bert", png(BERT))

    def ask(name: str, photo: bytes) -> Any:
        return service.client.post(f"/api/v1/people/{name}/compare", files={"photo": photo})

    yes, no = ask("Anna", png(ANNA, faces=2)).json(), ask("Bert", png(ANNA)).json()
    assert (yes["person"], yes["same"], yes["found"], yes["threshold"]) == ("Anna", True, 2, 0.9)
    assert yes["score"] == pytest.approx(1, abs=1e-3)
    assert not no["same"] and no["score"] < 0.9
    problem(ask("Nobody", png(ANNA)), 404)


def test_people_come_page_by_page(service: Running) -> None:
    for number in range(5):
        service.enroll(f"Person {number}", png(100 + number))
    names, after = [], ""
    while after is not None:
        page = service.client.get("/api/v1/people", params={"limit": 2, "after": after}).json()
        assert page["total"] == 5 and 1 <= len(page["people"]) <= 2
        names += [one["person"] for one in page["people"]]
        after = page["next"]
    assert names == [f"Person {number}" for number in range(5)]
    one = service.client.get("/api/v1/people/Person 3").json()
    assert (one["person"], one["photos"]) == ("Person 3", 1)
    assert service.client.get(f"/api/v1/photos/{one['cover']}").status_code == 200
    problem(service.client.get("/api/v1/people/Person 9"), 404)


def test_people_go_from_one_service_to_another(service: Running, tmp_path: Path) -> None:
    sha256 = service.enroll("Anna", png(ANNA)).json()["sha256"]
    exported = service.client.get("/api/v1/export").content
    assert str(tmp_path).encode() not in exported
    (tmp_path / "other").mkdir()
    with serving(tmp_path / "other", keep=True) as other:
        other.enroll("anna", png(STRANGER))

        def bring(data: bytes) -> Any:
            return other.client.post("/api/v1/import", files={"archive": data})

        first, again = bring(exported), bring(exported)
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json() == {"added": 1, "duplicates": 0, "people": 1}
        assert again.json() == {"added": 0, "duplicates": 1, "people": 1}
        # To the person as they are spelled there.
        photos = other.client.get("/api/v1/people/anna/photos").json()["photos"]
        assert [one["shown"] for one in photos] == [True, False]
        problem(bring(exported[:-5]), 422)
        # An archive says nothing of where files are: what is deleted is never one of its choice.
        victim = tmp_path / "victim.png"
        victim.write_bytes(b"")
        *rows, _ = exported.splitlines(keepends=True)
        row = json.loads(rows[1]) | {"folder": str(other.facebank) + ".photos", "sha256": "0" * 64}
        evil = json.dumps(row | {"person": "Evil", "file": "../../victim.png"}).encode()
        assert bring(sealed(rows[0] + evil + b"\n")).json()["added"] == 1
        assert other.client.delete("/api/v1/people/Evil").json()["elsewhere"] == 0
        assert victim.exists()
        head = json.loads(rows[0]) | {"model_id": "another-model"}
        problem(bring(sealed(json.dumps(head).encode() + b"\n")), 409)
    assert sha256 in exported.decode()


def test_a_token_is_good_for_its_role(tmp_path: Path) -> None:
    text = "identify 0123456789abcdef\nenroll abcdef0123456789\nall ABCDEF0123456789\n"
    file = tmp_path / "tokens"
    file.write_text(text)
    tokens = [line.split()[1] for line in text.splitlines()]
    with serving(tmp_path, keys=_keys(file)) as service:
        document = service.client.get(
            "/openapi.json", headers={"Authorization": f"Bearer {tokens[2]}"}
        ).json()
        least = {}
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                url = path.format(name="Anna", sha256="0" * 64)
                statuses = [
                    service.client.request(
                        method, url, headers={"Authorization": f"Bearer {token}"}
                    ).status_code
                    for token in tokens
                ]
                unknown = service.client.request(method, url).status_code
                assert (unknown == 401) == ("security" in operation), url
                assert statuses == sorted(statuses, key=lambda status: status != 403)
                least[operation["operationId"]] = statuses.count(403)
    assert {name for name, refused in least.items() if refused == 2} == {
        *("rename_person", "delete_person", "delete_photo"),
        *("get_facebank", "export_people", "import_people"),
    }
    assert {name for name, refused in least.items() if refused == 0} == {
        *("get_health", "get_ready", "get_metrics", "get_device", "get_network"),
        *("identify", "identify_batch", "match_vectors", "compare", "compare_with_person"),
    }


def test_below_a_prefix_all_is_as_without(tmp_path: Path) -> None:
    with serving(tmp_path, root_path="/mien", token=TOKEN) as service:
        service.client.headers["Authorization"] = f"Bearer {TOKEN}"
        for prefix in ("", "/mien"):  # a proxy takes it away, or does not
            get = service.client.get
            assert get(f"{prefix}/health").status_code == 200
            assert get(f"{prefix}/").status_code == 200
            assert get(f"{prefix}/page/app.js").status_code == 200
            assert get(f"{prefix}/api/v1/people").json()["total"] == 0
            problem(get(f"{prefix}/api/v1/people", headers={"Authorization": ""}), 401)
        document = service.client.get("/mien/openapi.json").json()
        assert document["servers"] == [{"url": "/mien"}]
        problem(service.client.get("/mienapi/v1/people"), 404)
    page = Path(images.__file__).parent / "serve/page"
    for file in (*page.glob("*.js"), *page.glob("device/*.js"), page / "index.html"):
        assert not re.search(r'["\'(]/(page|api)', file.read_text()), file


def test_each_request_has_an_id(service: Running) -> None:
    def id_of(**headers: str) -> str:
        return str(service.client.get("/health", headers=headers).headers["x-request-id"])

    assert id_of(**{"X-Request-ID": "abc-1.2_3"}) == "abc-1.2_3"
    for given in ("", "a b", "x" * 65, "a\tb"):
        assert re.fullmatch("[0-9a-f]{16}", id_of(**{"X-Request-ID": given}))
    assert id_of() != id_of()


def accesses(caplog: pytest.LogCaptureFixture, number: int) -> list[str]:
    """So many lines of the access log, each of which may come after its answer."""
    deadline = time.monotonic() + 60
    while len(lines := [one for one in caplog.records if one.name == "mien.access"]) < number:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return [line.getMessage() for line in lines]


def test_an_access_log_names_no_person(service: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mien.access"):
        service.enroll("Anna", png(ANNA))
        service.client.get("/api/v1/people/Anna?after=Anna", headers={"X-Request-ID": "number-7"})
        first, second = accesses(caplog, 2)
    assert re.fullmatch(
        r"127.0.0.1 \w{16} POST /api/v1/people/{name}/photos 201 \d+ bytes \d+ ms", first
    )
    assert "number-7 GET /api/v1/people/{name} 422" in second


def test_faces_come_in_the_size_that_is_asked_for_and_once(service: Running) -> None:
    sha256 = service.enroll("Anna", png(ANNA)).json()["sha256"]
    whole = service.client.get(f"/api/v1/photos/{sha256}")
    small = service.client.get(f"/api/v1/photos/{sha256}?size=16")
    with Pillow.open(io.BytesIO(small.content)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (16, 16))
    for answer in (whole, small):
        assert answer.headers["cache-control"] == "private, no-cache"
        again = service.client.get(
            str(answer.url), headers={"If-None-Match": answer.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")
    assert whole.headers["etag"] != small.headers["etag"]
    service.client.delete("/api/v1/people/Anna")  # nobody's face is confirmed who was forgotten
    problem(
        service.client.get(str(whole.url), headers={"If-None-Match": whole.headers["etag"]}), 404
    )
    for size in ("15", "1025", "x"):
        problem(service.client.get(f"/api/v1/photos/{sha256}?size={size}"), 422)


def test_the_second_visit_of_the_page_takes_little(service: Running) -> None:
    for number in range(40):
        service.enroll(f"Person {number}", png(100 + number))
    page = Path(images.__file__).parent / "serve/page"
    files = [file for file in page.rglob("*") if file.is_file() and "ort" not in file.parts]
    known: dict[str, str] = {}

    def visit() -> int:
        size = 0

        def get(path: str) -> Any:
            nonlocal size
            sent = {"Accept-Encoding": "gzip"}
            if path in known:
                sent["If-None-Match"] = known[path]
            with service.client.stream("GET", path, headers=sent) as answer:
                body = b"".join(answer.iter_raw())
            assert answer.status_code in (200, 304)
            size += len(body) + sum(len(a) + len(b) + 4 for a, b in answer.headers.raw) + 40
            if "no-store" not in answer.headers["cache-control"]:
                known[path] = answer.headers["etag"]
            return body

        get("/")
        for file in files:
            get(f"/page/{file.relative_to(page)}")
        people = json.loads(gunzip(get("/api/v1/people?limit=1000&after=")))["people"]
        for person in people:  # as many as are seen at once
            get(f"/api/v1/photos/{person['cover']}?size=256")
        return size

    first, second = visit(), visit()
    assert second < first
    assert second < 50_000


def test_the_docs_list_every_route_and_every_error(service: Running) -> None:
    page = (Path(images.__file__).parents[1] / "docs/serve.md").read_text("utf-8")
    for code, (status, meaning) in ERRORS.items():
        assert f"| `{code}` | {status} | {meaning} |\n" in page
    told = set(re.findall(r"^\| `([A-Z]+) (/\S+)` \|", page, re.M))
    have = set()
    for path, operations in service.client.get("/openapi.json").json()["paths"].items():
        path = path.removeprefix("/api/v1").replace("{", "").replace("}", "")
        path = path.replace("/name", "/NAME").replace("sha256", "SHA256")
        have |= {(method.upper(), path) for method in operations}
    assert told == have


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Running]:
    """One that asks for a token."""
    with serving(tmp_path, token=TOKEN, keep=True) as running:
        running.client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield running


def test_it_keeps_its_own_promises(guarded: Running) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

    address, sent = f"http://127.0.0.1:{guarded.port}", dict(guarded.client.headers)
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json", headers=sent)
    checked = 0
    for operation in (one.ok() for one in schema.get_all_operations()):

        @settings(
            max_examples=8,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def keeps(case: Any) -> None:
            # Random bytes fit the schema of a photo, and are none.
            case.call_and_validate(
                timeout=20, headers=sent, excluded_checks=[ignored_auth, positive_data_acceptance]
            )

        keeps()
        checked += 1
    assert checked >= 22


# From here on in a process of its own, which is stopped and killed.

Start = Callable[..., "tuple[subprocess.Popen[str], Running]"]


@pytest.fixture
def start(tmp_path: Path, model_file: Path) -> Iterator[Start]:
    """Starts `mien serve` on a free port."""
    started: list[subprocess.Popen[str]] = []

    def run(*options: str, **variables: str) -> tuple[subprocess.Popen[str], Running]:
        command = [sys.executable, "-m", "mien", "serve", "--port", "0", "--json"]
        command += ["--model", str(model_file), "--detector", "whole"]
        command += ["--facebank", str(tmp_path / "facebank.db"), *options]
        process = subprocess.Popen(
            command,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # signals to its group do not reach the tests
        )
        started.append(process)
        assert process.stdout
        document = ""
        while not document.endswith("}\n"):
            line = process.stdout.readline()
            assert line, "the service did not start"
            document += line
        port = re.search(r":(\d+)$", json.loads(document)["url"])
        return process, Running(int(port[1]) if port else 0, tmp_path / "facebank.db")

    yield run
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_large_bodies_take_little_memory(start: Start) -> None:
    process, service = start("--seconds", "60")
    data = os.urandom(24_000_000)
    asked = [("identify", "photo"), ("identify/batch", "photos"), ("import", "archive")]

    def ask(number: int) -> int:
        path, field = asked[number % 3]
        url = f"http://127.0.0.1:{service.port}/api/v1/{path}"
        answer = httpx.post(url, files={field: data}, timeout=120, trust_env=False)
        return int(answer.status_code)

    most, before = 0.0, megabytes(process.pid)
    with ThreadPoolExecutor(12) as clients:
        answers = [clients.submit(ask, number) for number in range(12)]
        while not all(answer.done() for answer in answers):
            most = max(most, megabytes(process.pid))
            time.sleep(0.02)
    assert {answer.result() for answer in answers} <= {200, 422, 503}
    assert most < before + 150
    assert megabytes(process.pid) < before + 40  # and gives it back


def test_a_unix_socket_is_for_its_owner_and_group(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "mien.sock"
    process, _ = start("--socket", str(path), MIEN_TOKEN="")
    assert path.stat().st_mode & 0o777 == 0o660
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost"
    ) as client:
        assert client.get("/api/v1/people").json()["total"] == 0
        problem(client.get("/api/v1/people", headers={"Host": "evil.example"}), 403)
    process.kill()
    process.wait()
    start("--socket", str(path), MIEN_TOKEN="")  # what was left is no hindrance
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file", tmp_path / "nowhere/mien.sock"):
        with pytest.raises(BadInput, match="cannot listen on"):
            bind_unix(wrong)
    assert (tmp_path / "file").is_file()


@pytest.mark.parametrize("path", ["mien", "/mien/", "/", "/a b", "/a//b", "http://x/y"])
def test_a_prefix_begins_with_a_slash_and_ends_without(path: str) -> None:
    with pytest.raises(BadInput, match="--root-path"):
        _require_prefix(path)


def test_answers_are_what_the_command_line_says(
    start: Start, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, service = start()
    ask = service.client
    photo, other = (save_photo(tmp_path / f"{seed}.png", seed, side=64) for seed in (ANNA, BERT))
    service.enroll("Anna", photo.read_bytes())
    service.enroll("Ann", png(ANNA, faces=2))
    model = ("--model", str(model_file), "--detector", "whole")
    facebank = ("--facebank", str(service.facebank))

    def said(*command: str) -> dict[str, Any]:
        with pytest.raises(SystemExit):
            main([*command, "--json"])
        out, err = capsys.readouterr()
        assert out, err
        document: dict[str, Any] = json.loads(out)
        return document

    def alike(answer: dict[str, Any], document: dict[str, Any], *apart: str) -> None:
        """They have the same fields and values, but for those that one of them has not."""
        assert answer.keys() ^ document.keys() == set(apart)
        both = answer.keys() & document.keys()
        assert {name: answer[name] for name in both} == {name: document[name] for name in both}

    document = said("identify", str(photo), *model, *facebank)
    (entry,) = document["photos"]
    entry |= {"threshold": document["threshold"], "fpir": document["fpir"]}
    alike(service.identify(photo.read_bytes()).json(), entry, "path", "found")
    batch = ask.post("/api/v1/identify/batch", files={"photos": photo.read_bytes()}).json()
    alike(batch, entry, "path", "found", "photo")
    files = {"first": photo.read_bytes(), "second": other.read_bytes()}
    compared = ask.post("/api/v1/compare", files=files).json()
    alike(compared, said("compare", str(photo), str(other), *model), "model_id")
    (tmp_path / "in").mkdir()
    strange: list[dict[str, Any]] = []
    of: list[int] = []
    for number, path in enumerate((photo, other, other)):
        content = path.read_bytes() + bytes(number)
        (tmp_path / f"in/{number}.png").write_bytes(content)
        asked = {"vectors": "true", "thumbs": "true"}
        found = ask.post("/api/v1/identify", files={"photo": content}, data=asked).json()
        strange += [face for face in found["faces"] if not face["person"]]
        of += [number] * (len(strange) - len(of))
    document = said(
        "cluster", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *model, *facebank
    )
    groups = service.grouped(strange, of).json()
    assert groups["threshold"] == pytest.approx(document["threshold"])
    sizes = [len(group["faces"]) for group in document["groups"]]
    assert list(map(len, groups["groups"])) == sizes

    state = ask.get("/api/v1/facebank").json()
    document = said("people", "health", "--no-look", *model, *facebank)
    for name, value in (("doubtful", "score"), ("small", "size")):
        for one in document[name]:
            del one["path"]
            one["value"] = one.pop(value)
    alike(state, document, "curve", "facebank", "blurred", "unseen")
    people = ask.get("/api/v1/people").json()
    document = said("people", "list", *facebank)
    for one, listed in zip(people.pop("people"), document.pop("people"), strict=True):
        alike(one, listed, "cover")
        alike(ask.get(f"/api/v1/people/{one['person']}").json(), listed, "cover")
    alike(people, document, "model_id", "total", "next", "facebank")
    shown = ask.get("/api/v1/people/Anna/photos").json()
    document = said("people", "photos", "Anna", *facebank)
    for one, listed in zip(shown.pop("photos"), document.pop("photos"), strict=True):
        alike(one, listed, "shown", "path")
    alike(shown, document)

    archive = tmp_path / "people.jsonl"
    archive.write_bytes(ask.get("/api/v1/export").content)
    imported = ask.post("/api/v1/import", files={"archive": archive.read_bytes()}).json()
    document = said("people", "import", str(archive), *facebank)
    document["duplicates"] = len(document["duplicates"])
    alike(imported, document, "people", "facebank")
    renamed = ask.patch("/api/v1/people/Ann", json={"person": "Bert"}).json()
    alike(renamed, said("people", "rename", "Bert", "Bert", *facebank), "cover")
    (sha256,) = (one["sha256"] for one in ask.get("/api/v1/people/Bert/photos").json()["photos"])
    deleted = ask.delete(f"/api/v1/people/Bert/photos/{sha256}").json()
    document = said("people", "delete", "Anna", "--yes", *facebank)
    alike(deleted, document | {"person": "Bert"}, "elsewhere")


def test_everyone_of_many_clients_gets_their_own_faces(start: Start) -> None:
    _, service = start()
    people = {f"Person {seed}": png(100 + seed) for seed in range(24)}
    for name, photo in people.items():
        service.enroll(name, photo)

    def ask(name: str) -> bool:
        return all(service.names(people[name]) == [name] for _ in range(8))

    with ThreadPoolExecutor(24) as clients:
        assert all(clients.map(ask, people))


def workers_of(process: subprocess.Popen[str]) -> set[int]:
    """The processes that look at photos."""
    found = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(process.pid)],
        capture_output=True,
        text=True,
    )
    return {int(line.split()[0]) for line in found.stdout.splitlines() if "spawn_main" in line}


needs_ps = pytest.mark.skipif(not shutil.which("ps"), reason="finding the workers needs ps")


@needs_ps
def test_a_worker_that_ends_is_replaced(start: Start) -> None:
    process, service = start()
    service.enroll("Anna", png(ANNA))
    before = workers_of(process)
    assert before
    with ThreadPoolExecutor(8) as clients:
        answers = [clients.submit(service.identify, png(ANNA)) for _ in range(64)]
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        statuses = {answer.result().status_code for answer in answers}
    assert statuses <= {200, 503}
    assert [service.names(png(ANNA)) for _ in before] == [["Anna"]] * len(before)
    assert not before & workers_of(process)


@needs_ps
def test_workers_end_with_who_began_them(start: Start) -> None:
    process, _ = start()
    workers = workers_of(process)
    assert workers
    process.kill()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_was_acknowledged_survives_a_kill(start: Start) -> None:
    process, service = start()
    acknowledged: list[str] = []

    def enroll() -> None:
        for seed in range(10_000):
            try:
                if service.enroll(f"Person {seed}", png(seed)).status_code == 201:
                    acknowledged.append(f"Person {seed}")
            except httpx.TransportError:
                return

    client = threading.Thread(target=enroll)
    client.start()
    deadline = time.monotonic() + 30
    while len(acknowledged) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    client.join(30)
    assert len(acknowledged) >= 5
    _, again = start()
    there = {one["person"] for one in again.client.get("/api/v1/people").json()["people"]}
    assert set(acknowledged) <= there
    assert len(there) <= len(acknowledged) + 1


@pytest.mark.parametrize("everyone", [False, True])
def test_what_was_accepted_is_answered_before_it_stops(start: Start, everyone: bool) -> None:
    process, service = start()
    service.client.get("/health")
    with ThreadPoolExecutor(8) as clients:
        answers = [clients.submit(service.identify, png(seed)) for seed in range(8)]
        with closing(socket.create_connection(("127.0.0.1", service.port), timeout=20)) as last:
            body = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
            body += png(ANNA) + b"\r\n--x--\r\n"
            head = (
                b"POST /api/v1/identify HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
            )
            last.sendall(head % len(body) + body[:100])
            assert [answer.result().status_code for answer in answers] == [200] * 8
            if everyone:  # as a terminal and systemd do it
                os.killpg(process.pid, signal.SIGTERM)
            else:
                process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            last.sendall(body[100:])  # it was begun before
            assert last.recv(100).startswith(b"HTTP/1.1 200")
    assert process.wait(20) == 0


def test_the_benchmark_gets_every_photo_its_own_answer(demo_photos: Path, tmp_path: Path) -> None:
    photos = sorted(demo_photos.iterdir())
    found = ways(photos, "mien-small", tmp_path, clients=4, seconds=1, turns=1)
    assert [way.name for way in found] == ["one at a time", "one client", "together"]
    assert [way.wrong for way in found] == [0, 0, 0]
    assert all(way.requests_per_second > 0 and way.p99 >= way.median for way in found)


def test_clients_of_all_kinds_are_stood(demo_photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.soak.IDLE", 100)
    photos = [demo_photos / f"{name}.jpg" for name in ("obama", "biden", "t1")]
    done = soak(photos, "mien-small", minutes=0.1)
    assert {kind.name for kind in done.kinds} == {
        *("alive", "good", "batch", "people", "slow", "idle", "broken", "hostile")
    }
    assert all(kind.requests for kind in done.kinds)
    assert [kind.name for kind in done.kinds if kind.wrong] == []
    assert done.megabytes_most < 300
    assert done.log_bytes < 10_000
    assert done.descriptors_last <= done.descriptors_first + 2


def test_others_than_this_machine_need_a_token(
    model_file: Path, tmp_path: Path, start: Start
) -> None:
    environment = {**os.environ, "MIEN_TOKEN": ""}
    command = [sys.executable, "-m", "mien", "serve", "--host", "0.0.0.0", "--port", "0"]
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "MIEN_TOKEN" in refused.stderr
    assert refused.stderr.count("\n") == 1
    _, service = start("--host", "0.0.0.0", MIEN_TOKEN=TOKEN)
    problem(service.client.get("/api/v1/people"), 401)
    sent = {"Authorization": f"Bearer {TOKEN}"}
    assert service.client.get("/api/v1/people", headers=sent).status_code == 200
