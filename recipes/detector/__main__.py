"""The command: see the package."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.bars import painted_over
from mien.recognition.align import warp
from mien.recognition.detect.mien_detector import SIDE, MienDetector, to_crop
from mien.recognition.detect.pyramid import in_halves
from mien.types import Image
from recipes.detector import backgrounds
from recipes.detector.crops import AROUND, Views
from recipes.detector.export import export
from recipes.detector.labels import FACE, Labels, label, photos
from recipes.detector.networks import Finder, Points
from recipes.detector.scenes import Material, Scenes, blended, texture
from recipes.detector.train import Step, finder_step, points_step, train

FINDER, POINTS = (2500, 3000), (6000, 8000)  # steps before and after what was mistaken is known
# At last the second network learns on views that are mostly placed as well as at its second look.
LAST, LAST_RATE, LAST_NEAR = 5500, 1.2e-3, 0.75
LOOKED_AT = 6000  # photos in which what is mistaken for a face is looked for
PAINTED = 3000  # of these, that are looked at with their face painted over too
DOUBTED = 0.35  # confidence of the finder from which something is mistaken
MIN_FACE = 24  # pixels of what is mistaken


def main() -> None:
    """Make the detector."""
    parser = argparse.ArgumentParser(description="Makes the detector that ships.")
    parser.add_argument("data", type=Path, help="folder with fairface/train and teacher/")
    parser.add_argument("--backgrounds", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=1.0, help="of the steps, to try it out")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    out: Path = given.out
    out.mkdir(parents=True, exist_ok=True)
    material = gather(given.data, given.backgrounds, out)
    finder, points = Finder(), Points()
    mistaken = np.zeros((0, AROUND, AROUND, 3), np.uint8)

    def learn(network: Finder | Points, step: Step, steps: int, rate: float = 3e-3) -> None:
        file = out / f"{type(network).__name__.lower()}.pt"
        train(network, step, max(1, round(given.share * steps)), file, rate=rate)
        network.load_state_dict(torch.load(file))

    for turn in (0, 1):
        if turn:
            export(finder, points, out)
            material, mistaken = with_mistaken(material, MienDetector(weights=out, threads=1))
        learn(finder, finder_step(Scenes(material, turn)), FINDER[turn])
        learn(points, points_step(Views(material, mistaken, turn)), POINTS[turn])
    views = Views(material, mistaken, 2, near=LAST_NEAR)
    learn(points, points_step(views), LAST, LAST_RATE)
    export(finder, points, out)


def gather(data: Path, folders: list[Path], out: Path) -> Material:
    """Photos, their labels and pictures without faces; photos and labels are kept in `out`."""
    file = out / "labels.npz"
    sizes = [out / f"photos-{side}.npy" for side in (144, 72, 36)]
    if not file.exists():
        whole = np.stack(photos(data / "fairface" / "train"))
        for size in sizes:
            np.save(size, whole)
            whole = np.stack([_half(photo) for photo in whole])
        found = label(
            list(np.load(sizes[0], mmap_mode="r")), data / "teacher" / "yunet-2026may.onnx"
        )
        np.savez(file, faces=found.faces, kind=found.kind, trust=found.trust)
    kept = np.load(file)
    labels = Labels(kept["faces"], kept["kind"], kept["trust"])
    pictures, things = backgrounds.read(folders)
    if not (pictures and things):
        raise SystemExit("the backgrounds need pictures, and PNG files of things cut out of theirs")
    return Material(
        photos=[np.load(size, mmap_mode="r") for size in sizes],
        labels=labels,
        rows=np.flatnonzero(labels.kind[:, 0] == FACE),
        pictures=pictures,
        things=things,
    )


def _half(photo: Image) -> Image:
    rows, columns = photo.shape[:2]
    half = cv2.resize(photo, (columns // 2, rows // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(half, np.uint8)


def with_mistaken(material: Material, detector: MienDetector) -> tuple[Material, NDArray[np.uint8]]:
    """The material and crops with what the detector's finder takes for faces and is none."""
    random = np.random.default_rng(0)
    tiles, crops = list[Image](), list[Image]()

    def take(picture: Image, candidates: NDArray[np.float32], *, tile: bool = True) -> None:
        for row in candidates:
            x0, y0, x1, y1 = row[1:5]
            x, y, half = (x0 + x1) / 2, (y0 + y1) / 2, 0.8 * max(x1 - x0, y1 - y0)
            left, top = int(max(0, x - half)), int(max(0, y - half))
            shown = picture[top : int(y + half) + 1, left : int(x + half) + 1]
            if min(shown.shape[:2]) < 8:
                continue
            matrix = to_crop(row[5:].reshape(5, 2))
            matrix[:, 2] += (AROUND - SIDE) / 2
            crops.append(warp(picture, matrix, AROUND))
            if tile:
                scale = min(1.0, 96 / max(shown.shape[:2]))
                size = [max(8, round(side * scale)) for side in shown.shape[1::-1]]
                tiles.append(np.asarray(cv2.resize(shown, size, interpolation=cv2.INTER_AREA)))

    def doubted(picture: Image) -> NDArray[np.float32]:
        found = detector.find(in_halves(picture), MIN_FACE)
        return found[found[:, 0] >= DOUBTED]

    for picture in material.pictures:
        for quarters in range(4):
            turned = np.ascontiguousarray(np.rot90(picture, quarters))
            take(turned, doubted(turned)[:60])
    for thing in material.things:
        ground = np.full(thing.shape[:2], random.integers(256), np.uint8)
        part = np.ascontiguousarray(thing[:, :, 3])
        layers = (np.dstack([ground] * 3), np.ascontiguousarray(thing[:, :, :3]), part)
        picture = blended(*layers)
        take(picture, doubted(picture)[:60])
    for _ in range(150):
        picture = texture(random, 256)
        take(picture, doubted(picture)[:10])
    for i in random.choice(material.rows, min(LOOKED_AT, len(material.rows)), replace=False):
        photo = np.array(material.photos[0][i])
        found = doubted(photo)
        faces = material.labels.faces[i][material.labels.kind[i] > 0][:, :4]
        sizes = np.prod(found[:, 3:5] - found[:, 1:3], 1)
        low = np.maximum(found[:, None, 1:3], faces[:, :2])
        high = np.minimum(found[:, None, 3:5], faces[:, 2:])
        inside = np.prod((high - low).clip(0), 2).max(1) / sizes
        take(photo, found[inside < 0.25][:4])
        small = sizes < 0.16 * np.prod(faces[0, 2:] - faces[0, :2])
        take(photo, found[small & (inside >= 0.25)][:3], tile=False)
    for i in random.choice(material.rows, min(PAINTED, len(material.rows)), replace=False):
        faces = material.labels.faces[i][material.labels.kind[i] > 0][:, :4]
        painted = painted_over(material.photos[0][i], faces)
        for quarters in (0, int(random.integers(1, 4))):
            turned = np.ascontiguousarray(np.rot90(painted, quarters))
            take(turned, doubted(turned)[:4], tile=False)
    return replace(material, mistaken=tiles), np.array(crops).reshape(-1, AROUND, AROUND, 3)


if __name__ == "__main__":
    main()
