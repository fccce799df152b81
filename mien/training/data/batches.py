"""The batches of a run: which pictures a step sees, and how they are augmented.

A step is a function of (seed, step) alone: any number of ranks and loader processes draw and
augment the same pictures in the same way, and a resumed run continues with the same batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from mien.images import decode
from mien.training import distributed
from mien.training.data.augment import Augmentation, augmented
from mien.types import Crops


class Pictures(Protocol):
    """A prepared data set, as `mien.training.data.shards.Shards`."""

    labels: NDArray[np.int64]  # (N,), -1 where a picture has none

    def __len__(self) -> int: ...

    def images(self, indices: NDArray[np.int64]) -> list[bytes]:
        """Encoded pictures, in the order of the indices."""
        ...

    def order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """The order of the pictures in an epoch, (N,)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A rank's share of a step."""

    clean: Crops  # for a teacher, (N, 112, 112, 3)
    seen: Crops  # for the student, (N, 112, 112, 3)
    labels: NDArray[np.int64]  # (N,), -1 where a picture has none
    indices: NDArray[np.int64]  # (N,) of the pictures in the data set


class Batches(Dataset[Batch]):
    """A batch for each number of a step.

    Args:
        pictures: of the run.
        batch: pictures in a step of this accumulation, of all ranks together.
        augment: names and chances, see `mien.training.data.augment.parse`.
        seed: of the order and of the augmentation.
    """

    def __init__(
        self, pictures: Pictures, batch: int, augment: tuple[Augmentation, ...], seed: int
    ) -> None:
        self.pictures, self.batch, self.augment, self.seed = pictures, batch, augment, seed
        self.rank, self.world = distributed.rank(), distributed.world_size()
        self._orders: dict[int, NDArray[np.int64]] = {}

    def __getitem__(self, number: int) -> Batch:
        share = self.batch // self.world
        first = number * self.batch + self.rank * share
        places = range(first, first + share)
        count = len(self.pictures)
        picked = np.array([self._order(k // count)[k % count] for k in places])
        pairs = [
            augmented(decode(data), self.augment, np.random.default_rng([self.seed, place]))
            for place, data in zip(places, self.pictures.images(picked), strict=True)
        ]
        clean, seen = (np.stack(images) for images in zip(*pairs, strict=True))
        return Batch(clean, seen, self.pictures.labels[picked], picked)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:  # per step, at most two
            recent = {epoch - 1: self._orders[epoch - 1]} if epoch - 1 in self._orders else {}
            self._orders = recent | {epoch: self.pictures.order(self.seed, epoch)}
        return self._orders[epoch]

    def load(self, start: int, end: int, *, workers: int) -> Iterator[Batch]:
        """Batches `start` to `end`, loaded by this many processes; 0: by this one."""
        # Its threads would fight with torch's; and a forked process, which has none of them, would
        # wait for them for ever.
        cv2.setNumThreads(1)
        loader: Any = DataLoader(
            self,
            batch_size=None,
            sampler=range(start, end),
            num_workers=workers,
            collate_fn=_as_it_is,
        )
        return iter(loader)


def _as_it_is(batch: Any) -> Any:
    return batch
