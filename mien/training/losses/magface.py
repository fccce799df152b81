"""MagFace: a margin that grows with the embedding's length, which comes to encode quality."""

from __future__ import annotations

from torch import Tensor

from mien.training.losses.stateful import StatefulLoss
from mien.training.losses.target import on_target, widened

SHORTEST, LONGEST = 10.0, 110.0  # lengths between which the margin grows


class MagFace(StatefulLoss):
    """ArcFace with a margin in proportion to the length, and a reward for being long.

    Easy faces are pulled towards their class and away from the origin; the length of an embedding
    then tells how good a photograph is.  Meng et al., MagFace, 2021, arXiv 2103.06627, with the
    constants of its authors' code, which are made for 512 dimensions.

    Args:
        margin: in radians, of the shortest embedding.
        longest_margin: that of the longest.
        scale: logit at angle 0 without the margin.
        weight: of the regulariser.
    """

    def __init__(
        self,
        *,
        margin: float = 0.45,
        scale: float = 64.0,
        longest_margin: float = 0.8,
        weight: float = 35.0,
    ) -> None:
        super().__init__()
        self.margin, self.scale = margin, scale
        self.longest_margin, self.weight = longest_margin, weight

    def forward(self, cosine: Tensor, labels: Tensor, *, norms: Tensor) -> Tensor:
        """Logits, (N, C), float32 even under autocast.

        Args:
            cosine: of each embedding to each class, (N, C), in [-1, 1].
            labels: class of each embedding, (N,), int64 in [0, C).
            norms: length of each embedding, (N,); gradient passes.
        """
        share = (norms.float().clamp(SHORTEST, LONGEST) - SHORTEST) / (LONGEST - SHORTEST)
        margin = self.margin + (self.longest_margin - self.margin) * share[:, None]
        return self.scale * on_target(cosine, labels, lambda target: widened(target, margin))

    def regulariser(self, norms: Tensor) -> Tensor:
        """The regulariser, lowest at the greatest length, (N,)."""
        length = norms.float().clamp(SHORTEST, LONGEST)
        return self.weight * (1 / length + length / LONGEST**2)
