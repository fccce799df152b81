"""The picture already is a face: one face that fills it, with its points on the template."""

from __future__ import annotations

import numpy as np

from mien.recognition.align import SIZE, TEMPLATE
from mien.types import Face, Image


class WholeImage:
    """Takes every picture for one aligned face, whatever it shows; confidence 1."""

    def __call__(self, image: Image) -> list[Face]:
        """One face, as large as the picture."""
        height, width = image.shape[:2]
        scale = np.array([width, height]) / SIZE
        return [
            Face(
                box=np.array([0, 0, width, height], np.float32),
                points=(TEMPLATE * scale).astype(np.float32),
                confidence=1.0,
            )
        ]
