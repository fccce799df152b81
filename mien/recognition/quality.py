"""The quality of a face's picture: sharpness, size, how frontal it is."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mien.types import Crops, Face, Scores

SMALL = 60  # pixels of a face's longer side; smaller ones are upsampled in a crop
# Sharpness below which a crop is called blurred: SeesawFaceNet lost a tenth of a score there.  Of
# 500 photos of CelebA none lies below it, and 94 % do when blurred by 2 pixels of the crop.
BLURRED = 0.005
CLEARLY = 1.5  # times the size of any other: the face that a photo is of


def sharpness(crops: Crops) -> Scores:
    """The sharpness of aligned faces, (N,), independent of contrast: 0 is uniform grey.

    The variance of the Laplacian (Pech-Pacheco et al., Diatom autofocusing in brightfield
    microscopy, 2000) over that of the gradient, inside the face.
    """
    found = []
    for crop in crops:
        grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
        across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
        laplacian = cv2.Laplacian(grey, cv2.CV_32F)
        bends, across, down = (one[20:100, 20:92].var() for one in (laplacian, across, down))
        found.append(bends / max(across + down, 1e-6))
    return np.array(found, np.float32)


def frontality(face: Face) -> float:
    """How frontal a face is, in [0, 1]: 1 with the nose midway between the eyes, 0 in profile."""
    first, second, nose = face.points[:3].astype(float) @ (1, 1j)
    across = second - first
    if abs(across) < 1e-6:
        return 0.0
    aside = float(((nose - first) / across).real) - 0.5  # in parts of the distance between the eyes
    return max(0.0, 1 - 2 * abs(aside))


def worth(face: Face, sharpness: float) -> float:
    """The weight of a face among others of one person, in [0, 1]."""
    large = min(1.0, face.size / (2 * SMALL))
    sharp = sharpness / (sharpness + BLURRED)
    return large * sharp * (0.1 + 0.9 * frontality(face)) * face.confidence


def largest(faces: Sequence[Face], limit: int | None = 1, min_face: float = 0) -> list[Face]:
    """The `limit` largest faces of a picture, in their order.

    Args:
        faces: all that were found.
        limit: None for any number.
        min_face: pixels that the longer side of a face must have.
    """
    kept = sorted(faces, key=lambda face: face.size, reverse=True)[:limit]
    return [face for face in faces if face in kept and face.size >= min_face]


def main_face(faces: Sequence[Face]) -> Face | None:
    """The face that a photo is of: the largest by far; None where others might be meant."""
    first, *others = sorted(faces, key=lambda face: face.size, reverse=True)
    return first if not others or first.size >= CLEARLY * others[0].size else None
