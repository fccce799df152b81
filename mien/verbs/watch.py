"""Moving pictures to names: who is in sight, from when to when.

The detector looks at a few frames per second; in between, faces are followed by their pixels.  A
name rests on the best few vectors of all the time that somebody is in sight, so it is steady, and
few faces are embedded.  Pictures come and go one by one: an hour takes the memory of a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.facebank.stores import Store
from mien.recognition.align import crops
from mien.recognition.model import Model
from mien.recognition.policy import Policy
from mien.recognition.quality import largest, sharpness, worth
from mien.types import Face, Match, NamedFace
from mien.video.optical_flow import follow
from mien.video.read import Frame, Grey
from mien.video.track import Observation, Track, match_by_iou, nearest

EVERY = 0.25  # seconds between two looks of the detector
SOON = 4  # parts of that after which it looks again for somebody who has come or gone
MISSES = 4  # looks that find nobody where their pixels are, after which they are out of sight
BACK = 2.0  # seconds within which somebody out of sight can go on
FRESH = 3  # vectors that are made at once; later ones come once a `LATER`
LATER = 1.0  # seconds
TINY = 1e-3  # seconds by which times are rounded
NEAR = 0.5  # part of the threshold that is enough for who was lost in the same place
OTHER = 0.25  # part of the threshold below which a track's face is another person's


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """Somebody who was in sight for a while."""

    number: int  # from 1, in the order in which they came
    match: Match
    start: float  # seconds
    end: float
    frames: int  # in which they are
    face: Face  # the best
    time: float  # when it was, in seconds


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """One frame, and who is in it."""

    frame: Frame
    faces: tuple[NamedFace, ...]


def watch(
    frames: Iterable[Frame],
    model: Model,
    facebank: Store,
    *,
    path: str | Path,
    policy: Policy | None = None,
    stride: int | None = None,
    patience: float = 2 * EVERY,
    mirror: bool = False,
    limit: int | None = None,
    min_face: float = 0,
) -> Iterator[Moment | Sighting]:
    """Yield who is in each picture, in order; and a sighting once somebody has left.

    Args:
        frames: of one video, in order.
        model: made the facebank's vectors.
        facebank: who is known.
        path: of the video, for the named faces.
        policy: the score a face needs to get a name; the model's own by default.
        stride: pictures from one look of the detector to the next; by default as many as
            come in a quarter of a second.
        patience: seconds by which pictures are held back, so that a name that is found within them
            is on them too, and what proves to be no face is not; 0 for a camera.
        mirror, limit, min_face: see `mien.verbs.identify.identify`.

    Raises:
        FacebankMismatch: the facebank's vectors are another model's.
        BadFacebank: see `mien.facebank.facebank.Facebank`.
    """
    watcher = Watcher(
        model,
        facebank,
        policy or model.policy(),
        stride=stride,
        mirror=mirror,
        limit=limit,
        min_face=min_face,
    )
    waiting: deque[tuple[Frame, list[tuple[Track, Face]]]] = deque()

    def moment() -> Moment:
        frame, shown = waiting.popleft()
        named = [
            NamedFace(Path(path), face, track.match)
            for track, face in shown
            if track.confirmed and track.match
        ]
        return Moment(frame, tuple(named))

    for frame in frames:
        waiting.append((frame, [(track, track.face) for track in watcher.look(frame)]))
        while waiting and frame.time - waiting[0][0].time >= patience:
            yield moment()
        yield from map(_appearance, watcher.gone())
    while waiting:
        yield moment()
    yield from map(_appearance, watcher.gone(everyone=True))


class Watcher:
    """Follows the faces of one video, and knows whose they are."""

    def __init__(
        self,
        model: Model,
        facebank: Store,
        policy: Policy,
        *,
        stride: int | None = None,
        mirror: bool = False,
        limit: int | None = None,
        min_face: float = 0,
    ) -> None:
        facebank.require(model.model_id)
        self._model, self._facebank, self._same = model, facebank, policy.threshold
        self._threshold = policy.threshold_among(person.photos for person in facebank.people())
        self._stride, self._mirror, self._limit, self._min_face = stride, mirror, limit, min_face
        self._tracks: list[Track] = []  # in sight
        self._lost: list[Track] = []  # out of sight, and may come back
        self._gone: list[Track] = []
        self._count = 0
        self._before: Grey | None = None
        self._last: Frame | None = None  # that the detector looked at

    def look(self, frame: Frame) -> list[Track]:
        """Whoever is in sight in the next picture."""
        grey = frame.grey()
        before, self._before = self._before, grey
        if before is not None and before.shape != grey.shape:
            before = None  # a stream that was opened again may have another size
        for track in self._tracks:
            moved = follow(before, grey, track.face) if before is not None else None
            track.followed = track.followed and moved is not None
            track.face = moved or track.face
        if self._due(frame):
            self._detect(frame)
        in_sight = [track for track in self._tracks if track.followed]
        for track in in_sight:
            track.end, track.stills = frame.time, track.stills + 1
        out = [track for track in self._lost if frame.time - track.end > BACK]
        self._lost = [track for track in self._lost if track not in out]
        self._gone += out
        return in_sight

    def gone(self, *, everyone: bool = False) -> list[Track]:
        """Who has gone for good since this was last asked; with `everyone`, all who are left."""
        if everyone:
            self._gone += self._lost + self._tracks
            self._lost, self._tracks = [], []
        gone = [track for track in self._gone if track.confirmed]
        self._gone = []
        return sorted(gone, key=lambda track: track.number)

    def _due(self, frame: Frame) -> bool:
        """Whether the detector should look: it is time, or somebody has just come or gone."""
        if self._last is None:
            return True
        hurry = any(track.hits == 1 or not track.followed for track in self._tracks)
        if self._stride:
            passed = frame.number - self._last.number
            return passed >= (max(1, self._stride // SOON) if hurry else self._stride)
        return frame.time - self._last.time >= (EVERY / SOON if hurry else EVERY) - TINY

    def _detect(self, frame: Frame) -> None:
        """Correct where everybody is, and who it is."""
        self._last = frame
        image = frame.image()
        faces = largest(self._model.detect(image), self._limit, self._min_face)
        known = {column: self._tracks[row] for row, column in match_by_iou(self._tracks, faces)}
        for track in self._tracks:
            track.misses += 1
        for column, track in known.items():
            track.face, track.hits, track.misses = faces[column], track.hits + 1, 0
        doubtful = [i for i in range(len(faces)) if i not in known or self._wants(known[i], frame)]
        for track in known.values():
            track.followed = True
        aligned = crops(image, [faces[i] for i in doubtful])
        vectors = self._model.embed_crops(aligned, mirror=self._mirror)
        found = {
            i: Observation(frame.time, faces[i], worth(faces[i], float(sharp)), vector)
            for i, sharp, vector in zip(doubtful, sharpness(aligned), vectors, strict=True)
        }
        for i, look in found.items():
            if i in known and self._is_other(known[i], look):
                self._lose(known.pop(i))
        for track in [track for track in self._tracks if self._is_out(track, faces)]:
            self._lose(track)
        for i, look in found.items():
            if i not in known:
                known[i] = self._back(look) or self._new(look)
            known[i].add(look)
        seen = [known[i] for i in found]
        means = np.stack([track.mean() for track in seen]) if seen else vectors
        for track, match in zip(seen, self._facebank.search(means, self._threshold), strict=True):
            track.match = match

    def _wants(self, track: Track, frame: Frame) -> bool:
        """Whether to embed a track's face again."""
        return len(track.looks) < FRESH or not track.followed or frame.time - track.looked >= LATER

    def _is_other(self, track: Track, look: Observation) -> bool:
        """Whether a track's face is another person's, as where two have crossed."""
        clear = look.worth >= track.looks[-1].worth / 2
        return clear and float(track.mean() @ look.vector) < OTHER * self._same

    def _is_out(self, track: Track, faces: list[Face]) -> bool:
        """Whether a track that the detector did not find is out of sight, or behind a face."""
        sure = track.confirmed and track.followed and not match_by_iou([track], faces)
        return track.misses >= MISSES or (track.misses > 0 and not sure)

    def _lose(self, track: Track) -> None:
        self._tracks.remove(track)
        self._lost.append(track)

    def _back(self, look: Observation) -> Track | None:
        """The track out of sight that a face goes on, if there is one."""
        lost = [track for track in self._lost if track.confirmed]
        near = [lost[row] for row, _ in match_by_iou(lost, [look.face])]
        track, score = nearest(look.vector, lost)
        if score < self._same:
            track, score = nearest(look.vector, near)
        if track is None or score < NEAR * self._same:
            return None
        self._lost.remove(track)
        self._tracks.append(track)
        track.face, track.hits, track.misses, track.followed = look.face, track.hits + 1, 0, True
        return track

    def _new(self, look: Observation) -> Track:
        self._count += 1
        track = Track(self._count, look.face, start=look.time, end=look.time)
        self._tracks.append(track)
        return track


def _appearance(track: Track) -> Sighting:
    best = track.looks[0]
    match = track.match or Match(None, -1.0)
    return Sighting(track.number, match, track.start, track.end, track.stills, best.face, best.time)
