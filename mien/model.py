"""The whole of recognition but the facebank: a detector, a network and a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mien.align import crops
from mien.detect import DETECTORS
from mien.embed import Card, OnnxEmbedder, views
from mien.errors import BadInput, BadModel
from mien.types import Detector, Embedder, Embeddings, Face, Image

DEFAULT = "mien-small"
WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True, slots=True)
class Model:
    """Finds faces and turns them into vectors that can be compared."""

    detector: Detector
    embedder: Embedder
    threshold: float  # the cosine from which two faces are taken for one person, in [-1, 1]

    @property
    def model_id(self) -> str:
        """Name and fingerprint of the weights; vectors of different ids are not comparable."""
        return self.embedder.model_id

    @property
    def dim(self) -> int:
        """Numbers in an embedding."""
        return self.embedder.dim

    def detect(self, image: Image) -> list[Face]:
        """The faces in a picture, best confidence first."""
        return self.detector(image)

    def embed(self, image: Image, faces: list[Face], *, mirror: bool = False) -> Embeddings:
        """One unit vector for each face, (N, D).

        Args:
            image: the picture that the faces were found in.
            faces: what `detect` returned, or some of it.
            mirror: average with the mirrored face: a little more accurate, twice the time.
        """
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
    threads: int | None = None,
) -> Model:
    """A model ready to use.

    Args:
        name: a shipped name such as "mien-small", or a file made by `mien export`.
        detector: a name in `mien.detect.DETECTORS`, or a detector of your own.
        threshold: overrides the file's own, in [-1, 1].
        threads: processors for the network; all that the process may use by default.

    Raises:
        BadModel: no such model, or a damaged one.
        BadInput: the threshold is outside its range, or the file has none and none was given.
    """
    embedder = OnnxEmbedder(model_file(name), threads=threads)
    finder = detector if not isinstance(detector, str) else _detector(detector)
    return Model(finder, embedder, _threshold(embedder.card, threshold))


def _detector(name: str) -> Detector:
    if name not in DETECTORS:
        raise BadInput(f"there is no detector {name!r}; use one of: {', '.join(DETECTORS)}")
    found: Detector = DETECTORS[name]()
    return found


def _threshold(card: Card, given: float | None) -> float:
    threshold = card.threshold if given is None else given
    if threshold is None:
        raise BadInput(
            f"{card.name} has no threshold yet; give --threshold, or export it with --calibration"
        )
    if not -1.0 <= threshold <= 1.0:
        raise BadInput(f"the threshold is a cosine in [-1, 1], not {threshold}")
    return threshold
