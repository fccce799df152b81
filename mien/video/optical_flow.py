"""Follows faces from one frame to the next by optical flow, without a network.

Points in a face are tracked (pyramidal Lucas-Kanade, Bouguet, 2001), and the face moves,
turns and scales with the majority.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.types import Face
from mien.video.read import Grey

SIDE = 48  # pixels that a face's box has where its points are followed, however large it is
STEPS = np.linspace(0.2, 0.8, 5)
GRID = np.stack(np.meshgrid(STEPS, STEPS), axis=2).reshape(-1, 2)  # (25, 2), in parts of the box
STRAY = 1.5  # of those pixels: tolerance of an inlier
AGREE = 0.5  # share of the points that must be inliers
UNLIKE = 24  # mean grey-level difference from which a point is lost
WINDOW = (15, 15)  # of those pixels, that are compared around a point
LEVELS = 2  # of halves, in which a point is looked for first


def follow(before: Grey, after: Grey, face: Face) -> Face | None:
    """The face's position in the next frame; None if it is lost.

    Args:
        before: the picture that the face is in.
        after: the next, of the same size.
        face: its confidence stays.
    """
    left, top, right, bottom = _around(face, before)
    if right - left < 8 or bottom - top < 8:
        return None
    scale = min(1.0, SIDE / max(face.size, 1))
    size = max(8, round((right - left) * scale)), max(8, round((bottom - top) * scale))
    old, new = (
        cv2.resize(grey[top:bottom, left:right], size, interpolation=cv2.INTER_AREA)
        for grey in (before, after)
    )
    origin = np.array([left, top], np.float32)
    factor = np.array(size, np.float32) / (right - left, bottom - top)
    corner, side = face.box[:2], face.box[2:] - face.box[:2]
    points = ((corner + GRID * side - origin) * factor).astype(np.float32)
    there = np.empty_like(points)
    moved, found, differences = cv2.calcOpticalFlowPyrLK(
        old, new, points, there, winSize=WINDOW, maxLevel=LEVELS
    )
    good = (found[:, 0] > 0) & (differences[:, 0] < UNLIKE)
    if good.sum() < max(3, AGREE * len(points)):
        return None
    matrix, agreeing = cv2.estimateAffinePartial2D(
        points[good], moved[good], method=cv2.RANSAC, ransacReprojThreshold=STRAY
    )
    if matrix is None or agreeing.sum() < AGREE * len(points):
        return None
    growth = float(np.hypot(*matrix[:, 0]))
    if not 0.8 < growth < 1.25:
        return None

    def move(places: NDArray[np.float32]) -> NDArray[np.float32]:
        inside = (places - origin) * factor
        there = (inside @ matrix[:, :2].T + matrix[:, 2]) / factor + origin
        return np.asarray(there, np.float32)

    middle = move(np.float32(0.5) * (face.box[None, :2] + face.box[None, 2:]))[0]
    if not ((middle > 0) & (middle < after.shape[::-1])).all():
        return None
    box = np.concatenate([middle - side * growth / 2, middle + side * growth / 2])
    return replace(face, box=box.astype(np.float32), points=move(face.points))


def _around(face: Face, grey: Grey) -> tuple[int, int, int, int]:
    """The search region: the box with half its size on every side, clipped to the picture."""
    x1, y1, x2, y2 = face.box
    reach = face.size / 2
    height, width = grey.shape
    return (
        max(0, int(x1 - reach)),
        max(0, int(y1 - reach)),
        min(width, int(x2 + reach)),
        min(height, int(y2 + reach)),
    )
