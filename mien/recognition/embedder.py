"""Aligned crops to unit vectors, by a self-contained model file."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import BadModel
from mien.files import contents
from mien.parallel import processors
from mien.recognition.onnx.protobuf import metadata, with_metadata
from mien.recognition.onnx.runtime import AUTO, PLAIN, asked, fastest
from mien.recognition.onnx.session import load_network, runtime_errors
from mien.types import Crops, Embeddings

_LOG = logging.getLogger(__name__)
BATCH = 32  # crops per run: bounds memory however many faces a picture shows
# The largest difference of a coordinate.  Between processors, float32 differs by a hundredth of it;
# bfloat16, float16 and int8 are coarser; a damaged file differs by far more.
CANARY_TOLERANCE = {"float32": 2e-3, "bfloat16": 2e-2, "int8": 5e-2}


@dataclass(frozen=True, slots=True)
class Card:
    """A model card: JSON in the ONNX file's metadata, under `mien`."""

    name: str
    model_id: str  # the name and the first 12 hex digits of the SHA-256 of the weights
    dim: int  # dimensions of an embedding
    threshold: float | None  # the cosine at which two faces count as one person
    calibration: dict[str, Any]  # where the threshold comes from, by mien calibrate; or {}
    trained: dict[str, Any]  # the backbone, and how it was trained
    canary: list[float]  # the embedding of `canary_crop()` at the time of writing
    precision: str = "float32"  # of weights and activations: float32 or int8
    batch: int = BATCH  # crops that the network takes in one run


def make_card(
    name: str, digest: str, canary: NDArray[np.float32], trained: dict[str, Any], batch: int = BATCH
) -> Card:
    """The card of a float32 model without a threshold.

    Args:
        name: the first part of its identity.
        digest: SHA-256, in hex, of what determines its output.
        canary: (D,), its vector of `canary_crop`.
        trained: where its weights come from.
        batch: crops that the network takes in one run.
    """
    return Card(
        name=name,
        model_id=f"{name}-{digest[:12]}",
        dim=len(canary),
        threshold=None,
        calibration={},
        trained=trained,
        canary=[round(float(value), 6) for value in canary],
        batch=batch,
    )


def with_card(network: bytes, card: Card) -> bytes:
    """A model file: an ONNX file that holds its card."""
    return with_metadata(network, mien=json.dumps(asdict(card)))


def crops_to_compare() -> Crops:
    """Four crops, the canary first, to compare two forms of a network with."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), np.uint8)
    return np.concatenate([canary_crop(), noise])


def canary_crop() -> Crops:
    """The fixed crop, (1, 112, 112, 3), whose embedding reveals a damaged file on loading."""
    row = np.arange(112, dtype=np.uint32)
    wave = row[:, None, None] * 7 + row[None, :, None] * 13 + np.arange(3, dtype=np.uint32) * 61
    checks = (row[:, None, None] // 16 + row[None, :, None] // 16) % 2 * 90
    return ((wave // 3 + checks) % 256).astype(np.uint8)[None]


def embed_mirrored(
    embed: Callable[[Crops], Embeddings], crops: Crops, mirrors: Sequence[bool]
) -> list[Embeddings]:
    """The embeddings of crops for each of `mirrors`: plain, or with test-time augmentation.

    That is the mean with the embedding of the mirrored crop, at unit length.
    """
    plain = embed(crops)
    if not any(mirrors):
        return [plain for _ in mirrors]
    total = plain + embed(np.ascontiguousarray(crops[:, :, ::-1]))
    mean = total / np.linalg.norm(total, axis=1, keepdims=True)
    return [mean if mirror else plain for mirror in mirrors]


def _card(content: bytes) -> Card:
    card = Card(**json.loads(metadata(content)["mien"]))
    if card.precision not in CANARY_TOLERANCE:
        raise ValueError(f"no precision: {card.precision}")
    if card.batch < 1:
        raise ValueError(f"no batch: {card.batch}")
    return card


class OnnxEmbedder:
    """Embeds crops with a model file, as `mien export` writes it.

    Args:
        path: the model file.
        threads: processors to use; all that the process may use by default.
        runtime: see `mien.recognition.onnx.runtime.asked`; "auto" tries once which is fastest.

    Raises:
        BadInput: there is no such runtime.
        BadModel: the file is missing, damaged, or not one of ours.
        MissingExtra: the runtime is not installed.
    """

    def __init__(
        self, path: Path, *, threads: int | None = None, runtime: str | None = None
    ) -> None:
        unusable = (
            f"{path} is not a mien model or is damaged: fetch it again, or make one of it with "
            "mien export or mien adopt"
        )
        self.path = path
        try:
            content = contents(path)
            self.card = _card(content)
            canary = np.array(self.card.canary, np.float32)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise BadModel(unusable) from error
        self._load = partial(load_network, content, threads=threads, otherwise=unusable)
        self._canary, self._unusable = canary, unusable
        self.runtime = asked(runtime)
        if self.runtime == AUTO:
            self.runtime = fastest(
                f"{self.model_id} with {threads or processors()} threads",
                lambda name: partial(self._checked(name), canary_crop()),
            )
        try:
            self._run = self._checked(self.runtime)
        except BadModel:
            if self.runtime == PLAIN:
                raise
            run = self._checked(PLAIN)  # or it is the file that is damaged
            _LOG.warning("%s runs on ONNX Runtime, as %s fails", path.name, self.runtime)
            self.runtime, self._run = PLAIN, run

    def __repr__(self) -> str:
        return f"OnnxEmbedder({str(self.path)!r})"

    def _checked(self, runtime: str) -> Callable[[Crops], Embeddings]:
        """The network on a runtime, checked against the canary.

        Raises:
            BadModel: it does not.
        """
        try:
            run: Callable[[Crops], Embeddings] = self._load(runtime=runtime)
            found = run(canary_crop())[0]
        except runtime_errors(IndexError, TypeError, ValueError) as error:
            raise BadModel(self._unusable) from error
        coarse = runtime != PLAIN and self.card.precision == "float32"
        tolerance = CANARY_TOLERANCE["bfloat16" if coarse else self.card.precision]
        same = found.shape == self._canary.shape == (self.dim,)
        if not same or not (np.abs(found - self._canary) < tolerance).all():
            raise BadModel(
                f"{self.path} is damaged: it no longer computes what it did when it was written; "
                "fetch it again"
            )
        return run

    def network(self) -> bytes:
        """The ONNX file, as it was loaded.

        Raises:
            BadModel: it is gone, or another one lies in its place.
        """
        try:
            content = contents(self.path)
            same = _card(content) == self.card
        except (OSError, KeyError, TypeError, ValueError):
            same = False
        if not same:
            raise BadModel(f"{self.path} has changed since it was loaded: start again")
        return content

    @property
    def dim(self) -> int:
        return self.card.dim

    @property
    def model_id(self) -> str:
        return self.card.model_id

    def __call__(self, crops: Crops) -> Embeddings:
        step = self.card.batch
        parts = [self._run(crops[start : start + step]) for start in range(0, len(crops), step)]
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)
