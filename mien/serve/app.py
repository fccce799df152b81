"""The routes: each takes a request apart, asks the library, and puts the answer together."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal, TypeVar

from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from mien import __version__, files, images
from mien.errors import BadFacebank, BadInput, CannotWrite, MienError, MissingExtra, UnknownPerson
from mien.facebank.rows import Photo, as_embeddings, person_name
from mien.facebank.stores import Store, open_store
from mien.recognition import align
from mien.recognition.detect.mtcnn import MTCNN
from mien.recognition.embed import OnnxEmbedder
from mien.recognition.model import Model
from mien.serve import schema
from mien.serve.metrics import Meter
from mien.serve.middleware import Guard, Limits
from mien.serve.service import Busy, Service
from mien.serve.workers import Lost
from mien.types import Image, largest_face
from mien.verbs.cluster import cluster
from mien.verbs.compare import compare
from mien.verbs.enroll import portrait
from mien.verbs.health import examine

T = TypeVar("T")


class _Taken(BadInput):
    """The name or the face is somebody else's."""


PAGE = Path(__file__).parent / "page"
RUNTIME = PAGE / "ort" / "ort-wasm-simd-threaded.wasm"  # ONNX Runtime Web, where it was fetched
NOWHERE = Path("/nonexistent")  # a face's folder where none is kept; enroll --rebuild asks for it
_IN_WORDS: dict[type[MienError], str] = {  # the library's sentences name files; these do not
    Lost: "what looked at the photo has ended, perhaps of too little memory: try a smaller one",
    UnknownPerson: "the facebank has nobody of that name: see GET /people",
    CannotWrite: "the server cannot write: nothing has changed; its log says why",
    BadFacebank: "the facebank cannot be used: the server's log says why",
}
_STATUS: dict[type[MienError], int] = {  # of all others 422
    Busy: 503,
    Lost: 503,
    UnknownPerson: 404,
    CannotWrite: 507,
    BadFacebank: 503,
    MissingExtra: 501,
    _Taken: 409,
}
_CURVE = [step / 50 for step in range(2, 46)]  # thresholds that a picture of them shows
_LOG = logging.getLogger("uvicorn.error")

Name = Annotated[str, InPath(max_length=200, description="Someone's name.")]
Sha256 = Annotated[str, InPath(pattern="^[0-9a-f]{64}$")]
_PROBLEMS = {
    400: "the request cannot be read",
    401: "the token is missing or wrong",
    403: "asked by another site, or under another name",
    404: "nobody, or nothing, of that name",
    408: "the request took too long to arrive",
    409: "the name or the face is somebody else's",
    413: "the request has too many bytes",
    422: "no usable photo, or a value out of its range",
    429: "too many requests",
    501: "an optional package is not installed",
    503: "too busy, or the facebank cannot be used",
    507: "the server cannot write",
}


def make_app(
    desk: Service,
    meter: Meter,
    *,
    limits: Limits | None = None,
    token: str | None = None,
    hosts: frozenset[str] | None = None,
    keep: Path | None = None,
    local: bool = False,
) -> ASGIApp:
    """The service as an ASGI application.

    Args:
        desk: does the work; it is closed when the application ends.
        meter: counts; the desk's `note` should be its `faces`.
        limits: what a request may take.
        token: see `Guard`.
        hosts: see `Guard`.
        keep: the folder for the faces that are enrolled; None: their pixels are not kept.
        local: only this machine can ask, so faces may be shown from photos that lie elsewhere.
    """
    limits = limits or Limits()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

    app = FastAPI(
        title="mien",
        version=__version__,
        description="Who is in a photo. A score is a cosine in [-1, 1], not a probability.",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        responses={
            status: {"model": schema.Problem, "description": why}
            for status, why in _PROBLEMS.items()
        },
    )
    _say_what_is_wrong(app)

    async def work(do: Callable[[], T]) -> T:
        return await desk.work(do, limits.seconds)

    def decoded(data: bytes, name: str) -> Image:
        return desk.decode(data, name, limits.pixels)

    @app.get("/health")
    async def health() -> schema.Ready:
        """The service is ready: it would not listen before."""
        return schema.Ready(status="ready", version=__version__)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Counts and times, as Prometheus reads them; no names."""
        return Response(*meter.exposition())

    @app.post("/identify")
    async def identify(photo: Annotated[UploadFile, File()]) -> schema.Identified:
        """Who is in a photo."""
        data = await photo.read()

        def do() -> schema.Identified:
            looked = desk.look(data, limits.pixels, limits.faces)
            matches, known = desk.search(looked.vectors)
            return schema.Identified(
                width=looked.width,
                height=looked.height,
                threshold=known.threshold,
                fpir=known.fpir,
                found=looked.found,
                faces=list(map(schema.Face.of, looked.faces, matches)),
            )

        return await work(do)

    @app.get("/device")
    async def device() -> schema.Device:
        """How this service finds faces, for those who do it themselves."""
        own = desk.own.detector
        return schema.Device(
            model_id=desk.own.model_id,
            missing=_missing(desk.own),
            faces=limits.faces,
            detector=schema.Cascade(
                min_face=own.min_face, factor=own.factor, thresholds=list(own.thresholds)
            )
            if isinstance(own, MTCNN)
            else None,
        )

    @app.get(
        "/networks/{name}",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}}},
    )
    async def network(name: Literal["propose", "refine", "confirm", "embed"]) -> Response:
        """One of the networks that this service runs, as an ONNX file."""
        part = desk.own.embedder if name == "embed" else desk.own.detector
        if isinstance(part, OnnxEmbedder):
            content = await work(part.network)
        elif isinstance(part, MTCNN):
            content = await work(partial(part.network, name))
        else:
            raise HTTPException(404, f"this service has no network to {name}: see GET /device")
        return Response(content, media_type="application/octet-stream")

    @app.post("/match")
    async def match(made: schema.Vectors) -> schema.Matched:
        """Who has these faces, which were found and embedded elsewhere."""

        def do() -> schema.Matched:
            if made.model_id != desk.model.model_id:
                raise BadInput(f"these vectors are not of {desk.model.model_id}: see GET /device")
            if len(made.vectors) > limits.faces:
                raise BadInput(f"these are over {limits.faces} faces: send the largest")
            matches, known = desk.search(as_embeddings(made.vectors, desk.model.dim))
            return schema.Matched(
                threshold=known.threshold,
                fpir=known.fpir,
                matches=[
                    schema.Name(person=one.person, score=round(one.score, 6)) for one in matches
                ],
            )

        return await work(do)

    @app.post("/compare")
    async def compare_two(
        first: Annotated[UploadFile, File()], second: Annotated[UploadFile, File()]
    ) -> schema.Compared:
        """Whether the largest faces of two photos are of one person."""
        one, other = await first.read(), await second.read()

        def do() -> schema.Compared:
            pair = decoded(one, "the first photo"), decoded(other, "the second photo")
            done = compare(*pair, model=desk.model)
            return schema.Compared(
                same=done.same,
                score=round(done.score, 6),
                threshold=done.threshold,
                faces=list(done.faces),
            )

        return await work(do)

    @app.get("/people")
    async def people() -> schema.People:
        """Everyone in the facebank."""
        known = await work(desk.known)
        return schema.People(
            model_id=desk.model.model_id,
            people=[schema.PersonEntry(person=one.name, photos=one.photos) for one in known.people],
        )

    @app.get("/people/{name}/photos")
    async def photos(name: Name) -> schema.Photos:
        """Someone's photos."""
        found = await work(lambda: desk.bank(lambda bank: bank.photos(name)))
        return schema.Photos(
            person=found[0].person,
            photos=[
                schema.PhotoEntry(
                    sha256=photo.sha256,
                    confidence=round(photo.confidence, 6),
                    size=round(photo.size, 1),
                    added=photo.added,
                    shown=(local or _is_kept(photo, keep)) and photo.path.is_file(),
                )
                for photo in found
            ],
        )

    @app.post("/people/{name}/photos", status_code=201)
    async def enroll(
        name: Name,
        photo: Annotated[UploadFile, File()],
        x: Annotated[float | None, Form(description="a point within the face")] = None,
        y: Annotated[float | None, Form(description="in pixels of the upright photo")] = None,
        largest: Annotated[bool, Form(description="of several faces take the largest")] = False,
    ) -> schema.Enrolled:
        """Teach the facebank one face of a photo; when this is answered, it is on the disk."""
        if (x is None) != (y is None):
            raise BadInput("a point takes both x and y: send both, or neither")
        data = await photo.read()
        at = (x, y) if x is not None and y is not None else None

        def do() -> schema.Enrolled:
            image = decoded(data, "the photo")
            new = portrait(image, name, keep or NOWHERE, desk.model, at=at, largest=largest)

            def add(bank: Store) -> schema.Enrolled:
                same = bank.photo(new.photo.sha256)
                if same and same.person != new.photo.person:
                    raise _Taken(f"this face is {same.person}'s already: remove it there first")
                if keep and not same:
                    files.write_atomically(new.photo.path, new.png)
                added = bank.add([new.photo], new.vector)
                return schema.Enrolled(
                    person=new.photo.person,
                    sha256=new.photo.sha256,
                    added=bool(added),
                    photos=len(bank.photos(new.photo.person)),
                )

            return desk.bank(add)

        return await work(do)

    @app.patch("/people/{name}")
    async def rename(name: Name, wanted: schema.Rename) -> schema.PersonEntry:
        """Give someone another name, or make one person of two."""

        def do(bank: Store) -> schema.PersonEntry:
            old, new = person_name(name), person_name(wanted.person)
            taken = new in [one.name for one in bank.people()]
            if taken and old != new and not wanted.merge:
                bank.photos(old)  # there may be nobody to rename
                raise _Taken(f"{new} is in the facebank already: choose another name, or merge")
            bank.rename(old, new, merge=wanted.merge)
            return schema.PersonEntry(person=new, photos=len(bank.photos(new)))

        return await work(lambda: desk.bank(do))

    @app.delete("/people/{name}")
    async def delete(name: Name) -> schema.Deleted:
        """Forget someone: their vectors, and the faces that were kept."""
        return await work(lambda: desk.bank(lambda bank: _delete(bank, name, None, keep)))

    @app.delete("/people/{name}/photos/{sha256}")
    async def delete_photo(name: Name, sha256: Sha256) -> schema.Deleted:
        """Forget one photo of someone; with the last one they are forgotten."""
        return await work(lambda: desk.bank(lambda bank: _delete(bank, name, sha256, keep)))

    @app.get(
        "/photos/{sha256}",
        response_class=Response,
        responses={200: {"content": {"image/png": {}}}},
    )
    async def face(sha256: Sha256) -> Response:
        """The face of a photo, where there still is a picture of it that may be shown."""

        def do() -> bytes:
            found = desk.bank(lambda bank: bank.photo(sha256))
            if not (found and (local or _is_kept(found, keep)) and found.path.is_file()):
                raise UnknownPerson
            try:
                return _face(found, desk, keep, limits.pixels)
            except BadInput as error:  # whose sentence names the file
                raise UnknownPerson from error

        return Response(await work(do), media_type="image/png")

    @app.post("/strangers")
    async def strangers(photos: Annotated[list[UploadFile], File()]) -> schema.Strangers:
        """The faces of nobody in the facebank, grouped by person."""
        uploads = [await photo.read() for photo in photos]

        def do() -> schema.Strangers:
            with TemporaryDirectory() as folder:
                paths = [Path(folder, str(number)) for number in range(len(uploads))]
                for path, data in zip(paths, uploads, strict=True):
                    path.write_bytes(data)
                with open_store(desk.address, model_id=desk.model.model_id) as bank:
                    found = cluster(
                        paths, desk.model, facebank=bank, most=limits.faces, decode=decoded
                    )
            return schema.Strangers(
                threshold=found.threshold,
                groups=[
                    [
                        schema.Stranger(
                            photo=int(one.path.name),
                            box=one.face.box.astype(float).round(1).tolist(),
                            thumb=_data_url(one.thumb),
                        )
                        for one in members
                    ]
                    for members in found.groups
                ],
                alone=found.alone,
                known=found.known,
                skipped=[int(path.name) for path, _ in found.skipped],
            )

        return await work(do)

    @app.get("/facebank")
    async def facebank() -> schema.State:
        """How often strangers will get a name, and whom to look after."""

        def do() -> schema.State:
            with open_store(desk.address, model_id=desk.model.model_id) as bank:
                found = examine(bank, desk.model, look=False)
            photos = [person.photos for person in desk.known().people]
            known = desk.model.impostors
            return schema.State(
                people=found.people,
                photos=found.photos,
                threshold=found.threshold,
                fpir=found.fpir,
                extrapolated=found.extrapolated,
                curve=[
                    schema.Point(
                        threshold=at,
                        fmr=known.fmr(at),
                        fpir=known.fpir(photos, at),
                    )
                    for at in _CURVE
                    if known
                ],
                alike=[
                    schema.Pair(person=one.person, other=one.other, score=round(one.score, 6))
                    for one in found.alike
                ],
                doubtful=[_doubt(one.photo, one.score) for one in found.doubtful],
                small=[_doubt(photo, photo.size) for photo in found.small],
                single=list(found.single),
            )

        return await work(do)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    app.mount("/page", StaticFiles(directory=PAGE))
    return meter.around(Guard(app, limits=limits, token=token, hosts=hosts))


def _missing(model: Model) -> str | None:
    """Why a browser cannot do this service's work; None: it can."""
    if not (isinstance(model.detector, MTCNN) and isinstance(model.embedder, OnnxEmbedder)):
        return "this service was started with another detector than MTCNN"
    if not RUNTIME.is_file():
        return "this service has no ONNX Runtime for browsers: make page gets it"
    return None


def _is_kept(photo: Photo, keep: Path | None) -> bool:
    """Whether the service cut this face out itself."""
    return keep is not None and photo.folder == str(keep)


def _delete(bank: Store, name: str, sha256: str | None, keep: Path | None) -> schema.Deleted:
    """Files go first: a kill then leaves a photo to delete again, and no face that stays."""
    own = bank.photos(name)
    doomed = [photo for photo in own if sha256 in (None, photo.sha256)]
    for photo in doomed:
        if _is_kept(photo, keep):
            _unlink(photo.path)
    deleted = bank.delete_photos(photo.sha256 for photo in doomed)
    if not deleted:
        raise UnknownPerson
    return schema.Deleted(
        person=own[0].person,
        deleted=deleted,
        photos=len(own) - deleted,
        elsewhere=sum(not _is_kept(photo, keep) and photo.path.is_file() for photo in doomed),
    )


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CannotWrite(f"{path} cannot be removed ({error.strerror})") from error
    with suppress(OSError):  # others of this person are still there
        path.parent.rmdir()


def _face(photo: Photo, desk: Service, keep: Path | None, pixels: int) -> bytes:
    """The picture of a face that was kept; or the face of a photo that lies elsewhere."""
    data = images.read_bytes(photo.path)
    if hashlib.sha256(data).hexdigest() != photo.sha256:
        raise BadInput("it has changed since it was enrolled")
    if _is_kept(photo, keep):
        return data
    image = desk.decode(data, "the photo", pixels)
    faces = desk.model.detect(image)
    if not faces:
        raise BadInput("no face was found in it")
    return images.encode(align.crop(image, largest_face(faces).points, margin=24), ".png")


def _doubt(photo: Photo, value: float) -> schema.Doubt:
    return schema.Doubt(person=photo.person, sha256=photo.sha256, value=round(value, 6))


def _data_url(image: Image) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(images.encode(image, '.jpg')).decode()}"


def _say_what_is_wrong(app: FastAPI) -> None:
    """Errors as `Problem`: one sentence, and no word of the server's files."""

    @app.exception_handler(MienError)
    async def known(_: Request, error: MienError) -> JSONResponse:
        kind = next((kind for kind in _STATUS if isinstance(error, kind)), MienError)
        status, sentence = _STATUS.get(kind, 422), _IN_WORDS.get(kind, str(error))
        if status >= 500:
            _LOG.error("%s", error)
        headers = {"Retry-After": "1"} if status == 503 else None
        return JSONResponse({"error": sentence}, status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = " ".join(map(str, first["loc"][1:])) or "the request"
        return JSONResponse({"error": f"{where}: {first['msg']}"}, 422)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def unknown(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": "the server failed: its log says why"}, 500)
