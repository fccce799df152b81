"""The whole of recognition but the facebank: a detector, a network and a threshold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mien.errors import BadInput, BadModel
from mien.parallel import threads_each
from mien.recognition.align import crops
from mien.recognition.detect import DETECTORS
from mien.recognition.embed import Card, OnnxEmbedder, views
from mien.recognition.thresholds import Impostors
from mien.types import Detector, Embedder, Embeddings, Face, Image, require_picture

DEFAULT = "mien-small"
WEIGHTS = Path(__file__).parent / "weights"
ROUNDING = 1e-6  # of a cosine of float32 vectors
FPIR = 0.01  # strangers who may get a name, however many people are enrolled


@dataclass(frozen=True, slots=True)
class Model:
    """Finds faces and turns them into vectors that can be compared."""

    detector: Detector
    embedder: Embedder
    threshold: float  # the cosine from which two faces are taken for one person, in [-1, 1]
    impostors: Impostors | None = None  # how alike strangers are to it, where its file says so
    fpir: float | None = None  # strangers who may get a name; None: the threshold is for all sizes
    at_once: int = 1  # photos that are looked at at a time, in threads, where there are many

    @property
    def model_id(self) -> str:
        """Name and fingerprint of the weights; vectors of different ids are not comparable."""
        return self.embedder.model_id

    @property
    def dim(self) -> int:
        """Numbers in an embedding."""
        return self.embedder.dim

    def threshold_among(self, photos: Iterable[int]) -> float:
        """The cosine from which a face gets a name in a facebank; never below `threshold`.

        The more people a face is compared with, the higher it is: so strangers get a name no more
        often than `fpir` says.  Where that is None, or nothing is known of strangers, it is
        `threshold` whatever the size.

        Args:
            photos: how many each person in the facebank has.
        """
        if self.impostors is None or self.fpir is None:
            return self.threshold
        return max(self.threshold, self.impostors.threshold_among(photos, self.fpir))

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
            mirror: average with the mirrored face: a little more accurate, twice the time.

        Raises:
            TypeError, ValueError: the picture is no (H, W, 3) array of uint8.
        """
        require_picture(image)
        return views(self.embedder, crops(image, faces), [mirror])[0]


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
    name: str | Path = DEFAULT,
    *,
    detector: str | Detector = "mtcnn",
    threshold: float | None = None,
    fmr: float | None = None,
    threads: int | None = None,
    at_once: int = 1,
) -> Model:
    """A model ready to use.

    Args:
        name: a shipped name such as "mien-small", or a file made by `mien export`.
        detector: a name in `mien.recognition.detect.DETECTORS`, or a detector of your own.
        threshold: overrides the file's own, in [-1, 1], for comparisons and facebanks of any size.
        fmr: instead of a threshold, the share of strangers that may be taken for somebody: of
            pairs where two photos are compared, of faces where one is looked up in a facebank.
        threads: processors for each photo's networks; by default its part of all that the process
            may use.
        at_once: photos to look at at a time, where there are many.

    Raises:
        BadModel: no such model, or a damaged one.
        BadInput: the threshold or rate is outside its range, both were given, or the file has
            none and none was given.
    """
    if threshold is not None and fmr is not None:
        raise BadInput("a threshold and a false-match rate exclude each other: give one of them")
    threads = threads or threads_each(at_once)
    embedder = OnnxEmbedder(model_file(name), threads=threads)
    finder = detector if not isinstance(detector, str) else _detector(detector, threads)
    impostors = _impostors(embedder.card)
    if fmr is not None:
        if impostors is None:
            raise BadInput(
                f"{embedder.card.name} does not say how alike strangers are; give --threshold, or"
                " export it with --calibration"
            )
        return Model(finder, embedder, impostors.threshold(fmr), impostors, fmr, at_once)
    fpir = FPIR if threshold is None else None
    own = _threshold(embedder.card, threshold)
    return Model(finder, embedder, own, impostors, fpir, at_once)


def _detector(name: str, threads: int | None) -> Detector:
    if name not in DETECTORS:
        raise BadInput(f"there is no detector {name!r}; use one of: {', '.join(DETECTORS)}")
    return DETECTORS[name](threads)


def _impostors(card: Card) -> Impostors | None:
    try:
        return Impostors.from_calibration(card.calibration)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadModel(f"the calibration of {card.name} is damaged: export it again") from error


def _threshold(card: Card, given: float | None) -> float:
    threshold = card.threshold if given is None else given
    if threshold is None:
        raise BadInput(
            f"{card.name} has no threshold yet; give --threshold, or export it with --calibration"
        )
    # One that was measured may be above 1, as rounding makes the scores of like vectors.
    if not abs(threshold) <= 1 + ROUNDING:
        raise BadInput(f"the threshold is a cosine in [-1, 1], not {threshold}")
    return threshold
