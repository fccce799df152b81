"""Balanced vectors: the components that age and group share are removed.

Young children, and people of one group, look alike to every recogniser that learned mostly from
adult celebrities: at one threshold, strangers among them match far more often than others. A
classifier guesses from a vector which class it belongs to, and the mean vectors of the classes,
weighed by that guess, are subtracted. A student that learns such targets needs no label and no
further layer when it is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from mien.errors import BadInput
from mien.evaluation.demographics import Labels
from mien.types import Embeddings

LEAST = 30  # minimum pictures of a class; smaller classes are left out
_SHARPNESS = 10.0  # of the logits: cosines of unit vectors are small numbers
_DECAY = 1e-2  # of the classifier's weights


def unit(vectors: NDArray[Any]) -> Embeddings:
    """Normalised to unit length along the last axis."""
    found: Embeddings = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(
        np.float32
    )
    return found


@dataclass
class Balance:
    """Subtracts the expected mean vector of a face's class.

    Args:
        labels: of the pictures.
        by: the labels that make a class together.
        share: of the mean that is subtracted, in [0, 1].

    Raises:
        BadInput: the labels have no such column.
    """

    labels: Labels
    by: tuple[str, ...] = ("age", "group")
    share: float = 1.0

    def __post_init__(self) -> None:
        if missing := sorted(set(self.by) - set(self.labels.columns)):
            raise BadInput(
                f"the labels have no column {missing[0]!r}: "
                f"use some of {', '.join(self.labels.columns)}"
            )

    def fit(self, vectors: Embeddings, files: Sequence[str]) -> Balance:
        """Learns the classes of unit vectors (N, D), whose pictures come from these files.

        Raises:
            BadInput: fewer than two classes have pictures enough.
        """
        found = [self._class(file) for file in files]
        counts = Counter(name for name in found if name is not None)
        self.names = sorted(name for name, count in counts.items() if count >= LEAST)
        if len(self.names) < 2:
            raise BadInput(
                f"{len(self.names)} classes have {LEAST} pictures in the data set, and balancing "
                "needs two: check that the labels name the files as the data set does"
            )
        number = {name: k for k, name in enumerate(self.names)}
        labels = np.array([number.get(name or "", -1) for name in found])
        known = labels >= 0
        self.means = np.stack(
            [vectors[labels == k].mean(0) for k in range(len(self.names))]
        ).astype(np.float32)
        self.weight, self.bias = _classifier(vectors[known], labels[known], len(self.names))
        self.accuracy = float((self._guess(vectors[known]).argmax(1) == labels[known]).mean())
        return self

    def __call__(self, vectors: Embeddings) -> Embeddings:
        """Balances unit vectors, (N, D) each."""
        found: Embeddings = unit(vectors - self.share * (self._guess(vectors) @ self.means))
        return found

    def describe(self) -> dict[str, Any]:
        """A summary of what was subtracted."""
        return {"share": self.share, "classes": len(self.names), "accuracy": self.accuracy}

    def _class(self, file: str) -> str | None:
        row = self.labels.get(Path(file))
        return " · ".join(row[column] for column in self.by) if row else None

    def _guess(self, vectors: Embeddings) -> NDArray[np.float32]:
        logits = torch.from_numpy(vectors @ self.weight + self.bias)
        probabilities: NDArray[np.float32] = logits.softmax(1).numpy()
        return probabilities


def _classifier(
    vectors: Embeddings, labels: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Softmax regression: (D, classes) and (classes,)."""
    x, y = torch.from_numpy(vectors), torch.from_numpy(labels)
    weight = torch.zeros(vectors.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=60, history_size=10, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = _SHARPNESS * (x @ weight) + bias
        found = F.cross_entropy(logits, y) + _DECAY / classes * weight.square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return (_SHARPNESS * weight).detach().numpy(), bias.detach().numpy()
