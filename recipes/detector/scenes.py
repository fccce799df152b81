"""Pictures composed of single faces: the places of all that they show are known exactly.

A photo of a face is turned, scaled, lit, partly hidden and laid on a background, whole, cut out or
fading into it; beside it lie things that are no faces, cut and laid in the same ways, so that the
border of what was laid tells nothing.  In three scenes of ten the first photo goes on to the
border by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.types import Image
from recipes.detector.labels import DOUBT, FACE, MIRRORED, SIZE, Labels

SIDE = 192  # pixels of a scene
SMALLEST, LARGEST = 9.0, 72.0  # pixels of the faces that are to be found
TILTED, LYING = 60, 80  # degrees up to which a turned face is one, and from which it is none
USES = 3  # times that a scene is given, mirrored and spoilt otherwise each time
STOCK = 64  # scenes that are composed at a time

Matrix = NDArray[np.float64]
Random = np.random.Generator


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and what is in it."""

    pixels: Image  # (SIDE, SIDE, 3) RGB
    faces: Matrix  # (N, 14): box and five points, in its pixels
    doubts: Matrix  # (M, 4): boxes of what is neither a face nor none


@dataclass(frozen=True, slots=True)
class Material:
    """What scenes are composed of."""

    photos: Sequence[NDArray[np.uint8]]  # all of them in 144, 72 and 36 pixels: (N, side, side, 3)
    labels: Labels
    rows: NDArray[np.intp]  # of the photos whose face is known
    pictures: Sequence[Image]  # without faces, RGB
    things: Sequence[NDArray[np.uint8]]  # cut out of their pictures, RGBA
    mistaken: Sequence[Image] = ()  # what was taken for a face and is none

    def level(self, scale: float) -> int:
        """Which size of a photo to take for one that many times as large, without aliasing."""
        return int(np.clip(np.floor(np.log2(0.95 / scale)), 0, 2)) if scale < 0.95 else 0


class Scenes:
    """Makes scenes without end; the same ones of the same seed."""

    def __init__(self, material: Material, seed: int) -> None:
        self._of, self._random, self._stock = material, np.random.default_rng(seed), list[Scene]()
        self._owner, self._laid = np.zeros((SIDE, SIDE), np.int16), 0

    def __call__(self) -> Scene:
        """The next one."""
        random = self._random
        if not self._stock:
            made = [self.compose() for _ in range(STOCK)]
            self._stock = [made[i % STOCK] for i in random.permutation(STOCK * USES)]
        scene = self._stock.pop()
        pixels, faces, doubts = scene.pixels, scene.faces, scene.doubts
        if random.random() < 0.5:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
            faces, doubts = _mirrored(faces), _mirrored(doubts)
        return Scene(spoil(random, pixels), faces, doubts)

    def compose(self) -> Scene:
        """A new one, not yet spoilt."""
        random = self._random
        self._owner[:], self._laid = 0, 0
        alone = random.random() < 0.3
        canvas = np.zeros((SIDE, SIDE, 3), np.uint8)
        if not alone:
            canvas = self.background()
            if random.random() < 0.35:
                for _ in range(random.integers(1, 4)):
                    self.thing(canvas)
            if random.random() < 0.1:
                return Scene(canvas, np.zeros((0, 14)), np.zeros((0, 4)))
        found: list[tuple[int, int, Matrix, Matrix]] = []  # number, kind, box, points
        boxes = np.zeros((0, 4))
        space = float(random.uniform(0.1, 0.7) * SIDE * SIDE)
        large = random.random() < 0.5
        for turn in range(40):
            first = alone and turn == 0
            if not first and turn < 4 and random.random() < 0.5:
                self._lay_decoy(canvas)
            i = int(random.choice(self._of.rows))
            own = self._of.labels.faces[i, 0].astype(float)
            degrees = angle(random)
            matrix, mirrored = self._place(own[:4], degrees, LARGEST if large or first else 40)
            box = turned_box(own[:4], matrix)
            if (box[:2] > SIDE - 3).any() or (box[2:] < 3).any() or _touches(box, boxes):
                continue
            photo, to_canvas = self._photo(i, own[4:].reshape(5, 2), matrix)
            if first:
                canvas = self._alone(photo, to_canvas)
            elif not self._lay(canvas, photo, to_canvas, self._shape(photo, own[:4])):
                continue
            boxes = np.vstack([boxes, box])
            for face, kind in zip(self._of.labels.faces[i], self._of.labels.kind[i], strict=True):
                if kind and abs(degrees) < LYING:
                    kind = kind if abs(degrees) < TILTED else DOUBT
                    points = face[4:].reshape(5, 2) @ matrix[:, :2].T + matrix[:, 2]
                    points = points[MIRRORED] if mirrored else points
                    found.append((self._laid, kind, turned_box(face[:4], matrix), points))
            space -= 2.2 * float(np.prod(box[2:] - box[:2]))
            if space < 0:
                break
        return Scene(canvas, *self._seen(found))

    def _place(self, box: Matrix, degrees: float, largest: float) -> tuple[Matrix, bool]:
        """Where a photo goes on the canvas: a map of its pixels, and whether that mirrors it."""
        random = self._random
        size = np.exp(random.uniform(np.log(SMALLEST), np.log(largest)))
        to = random.uniform(0, SIDE, 2)
        if random.random() < 0.12:  # cut by the canvas's border
            inside = random.uniform(-0.1, 0.3) * size
            to[random.integers(2)] = random.choice([inside, SIDE - inside])
        centre, scale = (box[:2] + box[2:]) / 2, size / np.sqrt(np.prod(box[2:] - box[:2]))
        matrix = similar(scale, np.radians(degrees), centre, to)
        mirrored = bool(random.random() < 0.5)
        if mirrored:
            matrix = matrix @ np.array([[-1, 0, box[0] + box[2]], [0, 1, 0], [0, 0, 1]])
        return matrix, mirrored

    def _photo(self, i: int, points: Matrix, matrix: Matrix) -> tuple[Image, Matrix]:
        """The photo as it is laid, and OpenCV's map of its pixels to the canvas."""
        level = self._of.level(float(np.hypot(*matrix[:, 0])))
        photo = np.asarray(self._of.photos[level][i])
        if self._random.random() < 0.1:
            photo = hide(self._random, photo, points / 2**level)
        matrix = matrix.copy()
        matrix[:, :2] *= 2**level
        matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5  # from corners to middles of pixels
        return relight(self._random, photo), matrix

    def _alone(self, photo: Image, matrix: Matrix) -> Image:
        """A photo on an empty canvas, which goes on as its mirror image, too blurred for a face."""
        size = (SIDE, SIDE)
        canvas = cv2.warpAffine(photo, matrix, size, borderMode=cv2.BORDER_REFLECT_101)
        inside = cv2.warpAffine(np.full(photo.shape[:2], 255, np.uint8), matrix, size)
        small = cv2.resize(canvas, (SIDE // 8, SIDE // 8), interpolation=cv2.INTER_AREA)
        around = cv2.resize(cv2.blur(small, (5, 5)), size, interpolation=cv2.INTER_CUBIC)
        self._laid = 1
        self._owner[inside > 128] = 1
        return blended(around, canvas, inside)

    def _lay(self, canvas: Image, tile: Image, matrix: Matrix, shape: NDArray[np.uint8]) -> bool:
        """Lay a tile of some shape on the canvas; whether any of it is there."""
        rows, columns = tile.shape[:2]
        corners = np.array([[0, 0], [columns, 0], [0, rows], [columns, rows]])
        corners = corners @ matrix[:, :2].T + matrix[:, 2]
        x0, y0 = np.clip(np.floor(corners.min(0)), 0, SIDE).astype(int)
        x1, y1 = np.clip(np.ceil(corners.max(0)) + 1, 0, SIDE).astype(int)
        if x1 <= x0 or y1 <= y0:
            return False
        here, size = matrix - np.array([[0, 0, x0], [0, 0, y0]]), (int(x1 - x0), int(y1 - y0))
        shown = cv2.warpAffine(shape, here, size)
        pixels = cv2.warpAffine(tile, here, size, borderMode=cv2.BORDER_REFLECT_101)
        canvas[y0:y1, x0:x1] = blended(canvas[y0:y1, x0:x1], pixels, shown)
        self._laid += 1
        self._owner[y0:y1, x0:x1][shown > 128] = self._laid
        return True

    def _seen(self, found: list[tuple[int, int, Matrix, Matrix]]) -> tuple[Matrix, Matrix]:
        """Which of what was laid is a face that can be seen, and what is in doubt."""
        faces, doubts = [np.zeros((0, 14))], [np.zeros((0, 4))]
        for number, kind, box, points in found:
            x0, y0, x1, y1 = np.clip(np.round(box), 0, SIDE).astype(int)
            area = max(float(np.prod(box[2:] - box[:2])), 1.0)
            part = int((self._owner[y0:y1, x0:x1] == number).sum()) / area
            if part < 0.15:
                continue
            fits = SMALLEST * 0.8 < np.sqrt(area) < LARGEST * 1.15
            if kind == FACE and part > 0.6 and fits:
                faces.append(np.concatenate([box, points.ravel()])[None])
            else:
                doubts.append(box[None])
        return np.concatenate(faces), np.concatenate(doubts)

    def _shape(self, tile: Image, box: Matrix | None = None) -> NDArray[np.uint8]:
        """The part of a tile that is laid: all, a rectangle, an ellipse with a hard or soft edge.

        Args:
            tile: what is laid.
            box: of a face in it, in a photo's pixels; None: there is none.
        """
        random, (rows, columns) = self._random, tile.shape[:2]
        shape = np.zeros((rows, columns), np.uint8)
        if box is None:
            x0, y0, x1, y1 = 0.2 * columns, 0.2 * rows, 0.8 * columns, 0.8 * rows
        else:
            x0, y0, x1, y1 = box * (rows / SIZE)
        width, height = x1 - x0, y1 - y0
        how = random.random()
        if how < 0.35:
            shape[:] = 255
        elif how < 0.65:
            more = random.uniform(-0.06, 0.5, 4) * (width, height, width, height)
            first = int(max(0, x0 - more[0])), int(max(0, y0 - more[1]))
            cv2.rectangle(shape, first, (int(x1 + more[2]), int(y1 + more[3])), 255, -1)
        else:
            grow = random.uniform(1.15, 1.7)
            centre = int((x0 + x1) / 2), int((y0 + y1) / 2 - height * 0.06)
            half = int(width / 2 * grow), int(height / 2 * grow)
            cv2.ellipse(shape, centre, half, 0, 0, 360, 255, -1)
            if random.random() < 0.6:
                sigma = float(max(1, width * random.uniform(0.02, 0.12)))
                shape = np.asarray(cv2.GaussianBlur(shape, (0, 0), sigma), np.uint8)
        return shape

    def background(self) -> Image:
        """A canvas of a picture's part, a texture or one colour."""
        random, how = self._random, self._random.random()
        if how < 0.2:
            return texture(random, SIDE)
        if how < 0.3:
            return np.full((SIDE, SIDE, 3), random.uniform(0, 255, 3), np.uint8)
        picture = _any(random, self._of.pictures)
        rows, columns = picture.shape[:2]
        scale = np.exp(random.uniform(np.log(SIDE / min(rows, columns)), np.log(2.2)))
        turn = random.normal(0, 0.2) if random.random() < 0.7 else random.uniform(-np.pi, np.pi)
        picture, scale = shrunk(picture, scale, 0.6)
        spot = random.uniform(0, picture.shape[1::-1])
        matrix = similar(scale, turn, spot, np.full(2, SIDE / 2))
        canvas = cv2.warpAffine(picture, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT_101)
        return np.ascontiguousarray(canvas[:, ::-1] if random.random() < 0.5 else canvas)

    def thing(self, canvas: Image) -> None:
        """Lay something that was cut out of its picture on the canvas."""
        random, thing = self._random, _any(self._random, self._of.things)
        scale = np.exp(random.uniform(np.log(20), np.log(140))) / max(thing.shape[:2])
        thing, scale = shrunk(thing, scale, 0.7)
        centre = np.array(thing.shape[1::-1]) / 2
        matrix = similar(scale, random.normal(0, 0.3), centre, random.uniform(0, SIDE, 2))
        pixels = relight(random, np.ascontiguousarray(thing[:, :, :3]))
        self._lay(canvas, pixels, matrix, np.ascontiguousarray(thing[:, :, 3]))

    def _lay_decoy(self, canvas: Image) -> None:
        random, decoy = self._random, self.decoy()
        if decoy is None or min(decoy.shape[:2]) < 2:
            return
        scale = np.exp(random.uniform(np.log(14), np.log(90))) / max(decoy.shape[:2])
        decoy, scale = shrunk(decoy, scale, 0.6)
        centre = np.array(decoy.shape[1::-1]) / 2
        to = random.uniform(0, SIDE, 2)
        matrix = similar(scale, np.radians(angle(random)), centre, to)
        self._lay(canvas, relight(random, decoy), matrix, self._shape(decoy))

    def decoy(self) -> Image | None:
        """What is no face: what was taken for one, skin, what stands beside a face, a texture."""
        random, how = self._random, self._random.random()
        if len(self._of.mistaken) and random.random() < 0.4:
            return cast("Image", _any(random, self._of.mistaken))
        if how < 0.6:
            i = int(random.choice(self._of.rows))
            return self._skin(i) if random.random() < 0.5 else self._beside(i)
        if how < 0.8:
            return texture(random, 96)
        picture = _any(random, self._of.pictures)
        side = min(int(random.integers(60, 300)), *picture.shape[:2])
        y, x = (int(random.integers(0, whole - side + 1)) for whole in picture.shape[:2])
        how_to = cv2.INTER_AREA if side > 96 else cv2.INTER_LINEAR
        part = picture[y : y + side, x : x + side]
        return cast("Image", cv2.resize(part, (96, 96), interpolation=how_to))

    def _skin(self, i: int) -> Image | None:
        """A cheek or a forehead."""
        face = self._of.labels.faces[i, 0].astype(float)
        points = face[4:].reshape(5, 2)
        side = (face[2] - face[0]) * self._random.uniform(0.14, 0.24)
        spots = (
            (points[0] + points[3]) / 2,
            (points[1] + points[4]) / 2,
            (points[0] + points[1]) / 2 - (points[3:].sum(0) - points[:2].sum(0)) * 0.2,
        )
        x, y = np.clip(_any(self._random, spots) - side / 2, 0, SIZE - 1 - side).astype(int)
        part = self._of.photos[0][i, y : y + int(side) + 1, x : x + int(side) + 1]
        return cast("Image", cv2.resize(part, (96, 96))) if part.size else None

    def _beside(self, i: int) -> Image | None:
        """What a photo shows to the left, to the right, above or below its faces."""
        if (self._of.labels.kind[i] == DOUBT).any():
            return None
        boxes = self._of.labels.faces[i, :, :4]
        x0, y0, x1, y1 = boxes[0]
        others = boxes[1:][self._of.labels.kind[i, 1:] > 0]
        parts = np.clip(
            [(0, 0, x0, SIZE), (x1, 0, SIZE, SIZE), (0, 0, SIZE, y0), (0, y1, SIZE, SIZE)], 0, SIZE
        ).astype(int)
        free = [
            part
            for part in parts
            if (part[2:] - part[:2]).min() > 14 and not _touches(part.astype(float), others)
        ]
        if not free:
            return None
        x0, y0, x1, y1 = _any(self._random, free)
        return np.ascontiguousarray(self._of.photos[0][i, y0:y1, x0:x1])


def angle(random: Random) -> float:
    """Degrees that something is turned by: mostly few, now and then any."""
    how = random.random()
    if how < 0.62:
        return float(random.normal(0, 12))
    return float(random.uniform(-55, 55) if how < 0.86 else random.uniform(-180, 180))


def texture(random: Random, side: int) -> Image:
    """Stripes, cloth, dots, squares, clouds or blobs, in any colours and in those of skin."""
    skin = random.uniform(70, 240) * np.array([1, random.uniform(0.6, 0.85), 0])
    skin[2] = skin[1] * random.uniform(0.6, 0.95)
    one, other = random.uniform(0, 255, (2, 3))
    one = skin if random.random() < 0.4 else one
    other = skin * random.uniform(0.3, 1.1) if random.random() < 0.4 else other
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    turn, period = random.uniform(0, np.pi), random.uniform(3, 40)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    wave = 2 * np.pi / period
    patterns: list[Callable[[], Any]] = [
        lambda: 0.5 + 0.5 * np.sin(u * wave),
        lambda: (1 + np.sin(u * wave)) * (1 + np.sin(v * wave / random.uniform(0.6, 1.6))) / 4,
        lambda: (
            np.hypot(u % period - period / 2, v % period - period / 2)
            < period * random.uniform(0.15, 0.45)
        ),
        lambda: (u // period + v // period) % 2,
        lambda: _clouds(random, side, int(random.integers(4, 40))),
        lambda: _blobs(random, side),
    ]
    pattern = np.asarray(_any(random, patterns)(), np.float32)
    if random.random() < 0.5:
        pattern = pattern * (0.5 + _clouds(random, side, int(random.integers(20, 90))))
    noise = random.normal(0, random.uniform(0, 12), (side, side, 1))
    return _as_pixels(one + (other - one) * pattern[..., None] + noise)


def _clouds(random: Random, side: int, cell: int) -> NDArray[np.float32]:
    small = random.random((max(2, side // cell + 2),) * 2, np.float32)
    return np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)


def _blobs(random: Random, side: int) -> NDArray[np.float32]:
    drawn = np.zeros((side, side), np.float32)
    for _ in range(random.integers(3, 16)):
        centre, half = random.integers(0, side, 2), random.integers(3, side // 3, 2)
        line = -1 if random.random() < 0.6 else int(random.integers(1, 6))
        turn, shade = random.uniform(0, 180), random.uniform(-1, 1)
        cv2.ellipse(drawn, centre.tolist(), half.tolist(), turn, 0, 360, shade, line)
    return np.asarray(cv2.GaussianBlur(drawn, (0, 0), random.uniform(0.5, 3)), np.float32)


def hide(random: Random, photo: Image, points: Matrix) -> Image:
    """A photo whose face is partly behind a mask, glasses, or something round."""
    photo = np.ascontiguousarray(photo).copy()
    across = points[1] - points[0]
    apart = max(float(np.hypot(*across)), 2.0)
    down = np.array([-across[1], across[0]])
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    dark_or_light = random.uniform(0, 60, 3) + random.choice([0, 190])
    colour = (random.uniform(0, 255, 3) if random.random() < 0.6 else dark_or_light).tolist()
    how = random.integers(4)
    if how == 0:
        nose = eyes + (points[2] - eyes) * random.uniform(0.6, 1.1)
        outline = [
            nose - across * 0.75,
            nose,
            nose + across * 0.75,
            mouth + across * 0.6 + down * 0.5,
            mouth + down * 0.85,
            mouth - across * 0.6 + down * 0.5,
        ]
        shape = np.round(np.array(outline) * 8).astype(np.int32)
        cv2.fillPoly(photo, [shape], colour, cv2.LINE_AA, 3)
    elif how == 1:
        line = -1 if random.random() < 0.6 else max(1, round(apart / 14))
        half = [
            max(1, round(apart * random.uniform(*limits))) for limits in ((0.28, 0.42), (0.2, 0.35))
        ]
        turn = float(np.degrees(np.arctan2(across[1], across[0])))
        ends = [np.round(eye).astype(int).tolist() for eye in points[:2]]
        for end in ends:
            cv2.ellipse(photo, end, half, turn, 0, 360, colour, line, cv2.LINE_AA)
        cv2.line(photo, ends[0], ends[1], colour, max(1, round(apart / 12)), cv2.LINE_AA)
    else:
        aside = random.normal(0, 1, 2)
        centre = points[2] + aside / np.hypot(*aside) * apart * random.uniform(0.8, 1.3)
        half = [
            max(1, round(apart * random.uniform(*limits))) for limits in ((0.3, 0.7), (0.5, 1.2))
        ]
        if random.random() < 0.5:  # of the face's own colour, as a hand
            x, y = np.clip(np.round(points[2]), 0, len(photo) - 1).astype(int)
            colour = (photo[y, x] * random.uniform(0.7, 1.1)).tolist()
        turn = random.uniform(0, 180)
        centre = np.round(centre).astype(int).tolist()
        cv2.ellipse(photo, centre, half, turn, 0, 360, colour, -1, cv2.LINE_AA)
    return photo


def relight(random: Random, tile: Image) -> Image:
    """A tile in another light: its curve, brightness, colour, side, contrast, or grey."""
    if random.random() < 0.35:
        return tile
    light: NDArray[Any] = tile.astype(np.float32)
    if random.random() < 0.5:
        light = 255 * (light / 255) ** np.float32(np.exp(random.normal(0, 0.35)))
    if random.random() < 0.5:
        light *= np.float32(np.exp(random.normal(0, 0.3)))
    if random.random() < 0.3:
        light *= np.exp(random.normal(0, 0.12, 3)).astype(np.float32)
    if random.random() < 0.2:
        rows, columns = (np.linspace(-1, 1, side, dtype=np.float32) for side in light.shape[:2])
        turn, least = random.uniform(0, 2 * np.pi), random.uniform(0.03, 0.5)
        along = columns[None] * np.float32(np.cos(turn)) + rows[:, None] * np.float32(np.sin(turn))
        steep, shift = np.float32(random.uniform(1, 9)), np.float32(random.normal(0, 0.5))
        light *= (least + (1 - least) / (1 + np.exp(shift - along * steep)))[..., None]
    if random.random() < 0.1:
        light = (light - light.mean()) * np.float32(random.uniform(0.3, 1.6)) + light.mean()
    if random.random() < 0.1:
        light[:] = light.mean(2, keepdims=True)
    return _as_pixels(light)


def spoil(random: Random, pixels: Image) -> Image:
    """What happens to whole photos: too dark, too light, grey, unsharp, noise, JPEG."""
    how = random.random()
    if how < 0.12:
        dark = np.float32(np.exp(random.uniform(np.log(0.05), np.log(0.5))))
        noise = random.normal(0, 1.5, pixels.shape) if random.random() < 0.3 else 0
        pixels = _as_pixels(pixels.astype(np.float32) * dark + noise)
    elif how < 0.2:
        pixels = _as_pixels(pixels.astype(np.float32) * np.float32(random.uniform(1.1, 1.9)))
    if random.random() < 0.1:
        pixels = np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    if random.random() < 0.12:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), random.uniform(0.4, 1.6)), np.uint8)
    if random.random() < 0.15:
        grain = random.integers(-24, 25, pixels.shape, dtype=np.int16) * random.uniform(0.1, 1)
        pixels = _as_pixels(pixels + grain)
    if random.random() < 0.25:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(12, 90))]
        written = cv2.imencode(".jpg", pixels, quality)[1]
        pixels = np.asarray(cv2.imdecode(written, cv2.IMREAD_COLOR), np.uint8)
    return pixels


def similar(scale: float, turn: float, centre: Matrix, to: Matrix) -> Matrix:
    """(2, 3): scales and turns (radians) around a place, which goes to another."""
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.array([[cos, -sin], [sin, cos]])
    return np.hstack([linear, (to - linear @ centre)[:, None]])


def turned_box(box: Matrix, matrix: Matrix) -> Matrix:
    """The upright box around what a map makes of the ellipse in a box."""
    centre = matrix[:, :2] @ ((box[:2] + box[2:]) / 2) + matrix[:, 2]
    half = np.hypot(*(matrix[:, :2] * (box[2:] - box[:2]) / 2).T)
    return np.concatenate([centre - half, centre + half])


def shrunk(picture: Image, scale: float, least: float) -> tuple[Image, float]:
    """The picture smaller, if its scale is under `least`, and the scale that is left."""
    if scale >= least:
        return picture, scale
    size = [max(2, round(side * scale / 0.8)) for side in picture.shape[1::-1]]
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return cast("Image", small), scale * max(picture.shape[:2]) / max(small.shape[:2])


def blended(under: NDArray[Any], over: NDArray[Any], part: NDArray[Any]) -> Image:
    """One picture over another, where the part of 255 says so."""
    three = cv2.merge([part, part, part])
    one = cv2.multiply(over, three, scale=1 / 255)
    return cast("Image", cv2.add(one, cv2.multiply(under, 255 - three, scale=1 / 255)))


def _mirrored(rows: Matrix) -> Matrix:
    """Boxes, and points after them if any, in the mirrored scene."""
    places = rows.reshape(len(rows), rows.shape[1] // 2, 2) * (-1, 1) + (SIDE, 0)
    order = [*range(places.shape[1])]
    if len(order) == 7:
        order[2:] = [2 + i for i in MIRRORED]
    places = places[:, order]
    places[:, :2, 0] = places[:, 1::-1, 0]
    return cast("Matrix", places.reshape(rows.shape))


def _touches(box: Matrix, others: NDArray[Any]) -> bool:
    """Whether a box comes nearer to one of the others than a tenth of its size."""
    near = 0.1 * np.sqrt(np.prod(box[2:] - box[:2]))
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    return bool(((high - low) > -near).all(1).any())


def _as_pixels(values: NDArray[Any]) -> Image:
    return np.asarray(np.clip(values, 0, 255), np.uint8)


def _any(random: Random, things: Sequence[Any]) -> Any:
    return things[int(random.integers(len(things)))]
