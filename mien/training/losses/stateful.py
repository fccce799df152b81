"""The interface of losses that are more than a function of cosines and labels."""

from __future__ import annotations

from torch import Tensor, nn


class StatefulLoss(nn.Module):
    """A loss with state, a regulariser, or logits that are not for softmax.

    `forward(cosine, labels, ...)` gives logits, as the functions of `LOSSES` do.  What it names
    among its keywords it is given: `norms`, the lengths of the embeddings, (N,); `targets`, the
    cosine of each embedding to its own class, (N,), also where that class is another rank's; and
    `known`, (N,), false where an embedding is nobody's.  All are those of every rank, so that state
    that follows from them is the same on all.  Buffers and parameters are saved with the run.
    """

    binary = False  # logits are for a binary cross-entropy of each class, not for softmax

    def begin(self, classes: float) -> None:
        """Is told once how many classes a step samples."""

    def regulariser(self, norms: Tensor) -> Tensor | None:
        """A term added to the loss of each embedding, (N,)."""
        return None
