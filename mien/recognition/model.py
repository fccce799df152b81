"""A picture to faces to vectors: a detector and an embedding network, loaded from its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mien import defaults
from mien.errors import BadInput, BadModel
from mien.recognition import detect
from mien.recognition.align import crops
from mien.recognition.calibration import calibrated, read
from mien.recognition.embedder import Card, OnnxEmbedder, embed_mirrored
from mien.recognition.policy import Policy
from mien.recognition.quality import largest
from mien.recognition.thresholds import Impostors
from mien.types import Crops, Detector, Embedder, Embeddings, Face, Image, require_picture

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """The faces found in a picture, with their vectors."""

    faces: list[Face] = field(repr=False)  # best confidence first
    vectors: Embeddings = field(repr=False)  # (N, D): one of unit length for each face
    found: int  # faces in the picture, with those left out


@dataclass(frozen=True, slots=True, repr=False)
class Model:
    """Finds faces and turns them into vectors that can be compared."""

    detector: Detector
    embedder: Embedder
    own: Policy | None = None  # from its file's calibration; None: not calibrated
    reopen: tuple[Any, ...] | None = None  # what `load` was given, for another process

    def __reduce__(self) -> tuple[Any, ...]:
        """As a pickle: what it was loaded from, which is opened again, and its policy."""
        if self.reopen is None:
            return Model, (self.detector, self.embedder, self.own)
        return _reopened, (self.model_id, self.own, *self.reopen)

    def __repr__(self) -> str:
        return f"<Model {self.model_id}, {type(self.detector).__name__}>"

    @property
    def model_id(self) -> str:
        """Name and fingerprint of the weights; vectors of different ids are not comparable."""
        return self.embedder.model_id

    @property
    def detector_id(self) -> str:
        """What decides which faces are found: the detector, its weights and settings."""
        return detect.identity(self.detector)

    @property
    def dim(self) -> int:
        """The dimensions of an embedding."""
        return self.embedder.dim

    def policy(self, *, threshold: float | None = None, fmr: float | None = None) -> Policy:
        """The policy for its vectors: by default the one in its file.

        Args:
            threshold: a cosine in [-1, 1] to use instead, whatever the size of the facebank.
            fmr: instead, the share of strangers that may be mistaken for somebody, in (0, 1): of
                pairs when two photos are compared, of faces when they are looked up in a facebank.

        Raises:
            BadInput: a value is out of range, both are given, or the file has no calibration.
        """
        if threshold is not None and fmr is not None:
            raise BadInput(
                "a threshold and a false-match rate exclude each other: give one of them"
            )
        impostors = self.own.impostors if self.own else None
        if threshold is not None:
            return Policy(threshold, impostors)
        if fmr is not None:
            if impostors is None:
                raise BadInput(
                    f"{self.model_id} does not say how alike strangers are: give --threshold, or"
                    " --calibration with what mien calibrate has found"
                )
            return Policy(impostors.threshold(fmr), impostors, fmr)
        if self.own is None:
            raise BadInput(
                f"{self.model_id} has no threshold yet: give --threshold, or --calibration with"
                " what mien calibrate has found"
            )
        return self.own

    def look(
        self, image: Image, *, limit: int | None = None, min_face: float = 0, mirror: bool = False
    ) -> Looked:
        """The faces in a picture, with their vectors.

        Args:
            image: (H, W, 3) RGB.
            limit: how many faces to keep, the largest; all by default.
            min_face: the smallest face to keep: its longer side in pixels.
            mirror: see `embed`.

        Raises:
            TypeError, ValueError: the picture is no (H, W, 3) array of uint8.
        """
        found = self.detect(image)
        faces = largest(found, limit, min_face)
        return Looked(faces, self.embed(image, faces, mirror=mirror), len(found))

    def detect(self, image: Image) -> list[Face]:
        """The faces in a picture, best confidence first.

        Raises:
            TypeError, ValueError: no (H, W, 3) array of uint8.
        """
        require_picture(image)
        return self.detector(image)

    def embed(self, image: Image, faces: list[Face], *, mirror: bool = False) -> Embeddings:
        """One unit vector for each face, (N, D).

        Args:
            image: the picture that the faces were found in.
            faces: what `detect` returned, or some of it.
            mirror: average with the mirrored face (test-time augmentation): slightly more
                accurate, twice the time.

        Raises:
            TypeError, ValueError: the picture is no (H, W, 3) array of uint8.
        """
        require_picture(image)
        return self.embed_crops(crops(image, faces), mirror=mirror)

    def embed_crops(self, crops: Crops, *, mirror: bool = False) -> Embeddings:
        """One unit vector for each aligned crop, (N, D); see `embed`."""
        return embed_mirrored(self.embedder, crops, [mirror])[0]


def shipped() -> list[str]:
    """Names of the models inside the package."""
    return sorted(path.stem for path in WEIGHTS.glob("*.onnx"))


def model_file(name: str | Path) -> Path:
    """The file of a shipped model, or the path itself where it is one.

    Raises:
        BadModel: neither a shipped name nor a file.
    """
    inside = WEIGHTS / f"{name}.onnx"
    if inside.is_file():
        return inside
    if Path(name).is_file():
        return Path(name)
    raise BadModel(
        f"there is no model {str(name)!r}; give a file or one of: {', '.join(shipped())}"
    )


def load(
    name: str | Path = defaults.MODEL,
    *,
    detector: str | Detector = defaults.DETECTOR,
    calibration: str | Path | Mapping[str, Any] | None = None,
    fpir: float | None = None,
    threads: int | None = None,
    runtime: str | None = None,
) -> Model:
    """A model ready to use.

    Args:
        name: a shipped name such as "mien-small", or a file that `mien export` or `mien adopt`
            has written.
        detector: a name in `mien.recognition.detect.DETECTORS`, a file of YuNet or SCRFD, or a
            detector of your own.
        calibration: where its threshold comes from, in place of what the file says: the file that
            `mien calibrate --json` has printed, or what `Calibration.to_json` gives.
        fpir: share of strangers who may get a name, in (0, 1), in place of what the file says.
        threads: processors to use for each photo; by default all that the process may use.
        runtime: what runs the networks: "onnxruntime", "openvino", "cuda", "coreml", "directml", or
            "auto", which tries once what is fastest on this machine, for the detector and for the
            embedder. By default what MIEN_RUNTIME says, else "auto".

    Raises:
        BadModel: no such model, or a damaged one.
        BadInput: no such detector or runtime, or the calibration is another model's.
    """
    embedder = OnnxEmbedder(model_file(name), threads=threads, runtime=runtime)
    card = embedder.card
    if calibration is not None:
        found = calibration if isinstance(calibration, Mapping) else read(calibration)
        card = calibrated(card, found)
    reopen = (str(name), detector, threads, runtime)
    if isinstance(detector, str):
        detector = detect.named(detector, threads=threads, runtime=runtime)
    model = Model(detector, embedder, _own_policy(card), reopen)
    return model if fpir is None else replace(model, own=model.policy(fmr=fpir))


def _reopened(
    model_id: str,
    own: Policy | None,
    name: str,
    detector: str | Detector,
    threads: int | None,
    runtime: str | None,
) -> Model:
    """The model that was pickled.

    Raises:
        BadModel: its file holds another now.
    """
    model = load(name, detector=detector, threads=threads, runtime=runtime)
    if model.model_id != model_id:
        raise BadModel(f"{name} holds {model.model_id}, not {model_id}, as when it was pickled")
    return replace(model, own=own)


def shipped_as(model_id: str) -> str | None:
    """The name of a shipped model by whose vectors a facebank says it was made, if there is one."""
    name = model_id.rpartition("-")[0]
    return name if name in shipped() else None


def _own_policy(card: Card) -> Policy | None:
    if card.threshold is None:
        return None
    try:
        return Policy(card.threshold, Impostors.from_calibration(card.calibration), defaults.FPIR)
    except (BadInput, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadModel(
            f"the calibration of {card.name} is damaged: run mien calibrate again"
        ) from error
