"""The decision: which score makes two faces one person, and which earns a name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mien.errors import BadInput
from mien.recognition.thresholds import Impostors

ROUNDING = 1e-6  # of a cosine of float32 vectors


@dataclass(frozen=True, slots=True)
class Policy:
    """When two faces count as one person.

    Raises:
        BadInput: the threshold is not a cosine.
    """

    threshold: float  # cosine from which two faces are one person, in [-1, 1]
    impostors: Impostors | None = field(default=None, repr=False)  # None: not known
    fpir: float | None = None  # share of strangers who may get a name; None: no limit

    def __post_init__(self) -> None:
        # A measured one may be above 1, by rounding.
        if not abs(self.threshold) <= 1 + ROUNDING:
            raise BadInput(f"the threshold is a cosine in [-1, 1], not {self.threshold}")

    def threshold_among(self, photos: Iterable[int]) -> float:
        """The cosine that a face must reach to get a name in a facebank; never below `threshold`.

        It rises with the number of people, so that the share of strangers who get a name stays at
        `fpir`.  Without `fpir` or `impostors` it is `threshold`, whatever the size.

        Args:
            photos: the number of photos of each person in the facebank.
        """
        if self.impostors is None or self.fpir is None:
            return self.threshold
        return max(self.threshold, self.impostors.threshold_among(photos, self.fpir))
