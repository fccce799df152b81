"""What decides: from which score on two faces are one person's, and a face has a name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mien.errors import BadInput
from mien.recognition.thresholds import Impostors

ROUNDING = 1e-6  # of a cosine of float32 vectors


@dataclass(frozen=True, slots=True)
class Policy:
    """From which score on faces are taken for one person's.

    Raises:
        BadInput: the threshold is no cosine.
    """

    threshold: float  # the cosine from which two faces are one person's, in [-1, 1]
    impostors: Impostors | None = field(default=None, repr=False)  # None: nothing is known of them
    fpir: float | None = None  # strangers who may get a name; None: the threshold is for all sizes

    def __post_init__(self) -> None:
        # One that was measured may be above 1, as rounding makes the scores of like vectors.
        if not abs(self.threshold) <= 1 + ROUNDING:
            raise BadInput(f"the threshold is a cosine in [-1, 1], not {self.threshold}")

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
