"""The protocols: from embeddings and labels to the figures that papers report.

Verification: do two crops show one person?  Identification: who is it among people with one
enrolled photo each, and is it any of them?  Needs no detector and no file format, so that a
training run can validate with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.errors import BadInput
from mien.evaluation import metrics
from mien.evaluation.scores import genuine_scores, impostor_scores
from mien.evaluation.verification_set import VerificationSet
from mien.recognition.embedder import embed_mirrored
from mien.types import Crops, Embeddings, Progress, Scores, Skipped, silent

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # false-accept rates
FPIRS = (1e-1, 1e-2, 1e-3)  # false-positive identification rates
RANKS = (1, 5, 10)
FOLDS = 10  # the number of Labeled Faces in the Wild, and of every set like it
BATCH = 32  # crops

Embed: TypeAlias = Callable[[Crops], Embeddings]


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """How well scores tell pairs of one person from pairs of two.  Rates are in [0, 1]."""

    scores: Scores = field(repr=False)  # (N,) cosine of each pair
    same: NDArray[np.bool_] = field(repr=False)  # (N,) true where the pair is one person
    by_fold: metrics.FoldAccuracy | None  # None: all pairs of some people, which have no folds
    dealt: bool  # the pairs came without folds and were dealt into some
    tar: dict[float, float | None]  # true-accept rate at a false-accept rate; None: too few pairs
    eer: float  # equal error rate

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON; the keys of `tar` are text, such as "0.001"."""
        folds = self.by_fold
        return {
            "pairs": len(self.scores),
            "impostor_pairs": int((~self.same).sum()),
            "genuine_pairs": int(self.same.sum()),
            "folds": len(folds.accuracy) if folds else None,
            "dealt": self.dealt,
            "accuracy": folds.mean if folds else None,
            "accuracy_std": folds.std if folds else None,
            "best_threshold": folds.threshold if folds else None,
            "tar": {f"{far:g}": rate for far, rate in self.tar.items()},
            "eer": self.eer,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Identification:
    """How often a search finds the right person, each enrolled with one photo.  Rates in [0, 1]."""

    seed: int  # of the draw: which photo of a person is enrolled, and who is a stranger
    people: int  # enrolled in the closed set
    searches: int  # photos that were looked up there: all but the enrolled
    # (people,) share of searches with their person among the 1, 2... best
    cmc: NDArray[np.float64] = field(repr=False)
    rank: dict[int, float | None]  # the same at `RANKS`; None: no more people than that
    enrolled: int  # people enrolled in the open set: half of them
    enrolled_searches: int  # photos of them that were looked up
    stranger_searches: int  # photos of the others that were looked up
    tpir: dict[float, float | None]  # true-positive at a false-positive rate; None: too few photos

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON, except `cmc`, with text as keys."""
        content = asdict(self)
        del content["cmc"]
        return content | {
            "rank": {str(rank): share for rank, share in self.rank.items()},
            "tpir": {f"{fpir:g}": rate for fpir, rate in self.tpir.items()},
        }


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What one set of photos says about one model."""

    set: str  # its name
    model_id: str
    mirror: bool  # embeddings are the mean with the mirrored crop's
    photos: int  # number embedded
    missed: tuple[str, ...]  # photos without a detected face, which count all the same
    skipped: tuple[Skipped, ...]  # photos that do not count, and why
    verification: Verification
    own: metrics.ErrorRates | None  # at the threshold stored with the model; None: it has none
    identification: Identification | None  # None: the set is pairs, not people

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON, with verification's figures at the top level."""
        return {
            "set": self.set,
            "model_id": self.model_id,
            "mirror": self.mirror,
            "photos": self.photos,
            "missed": list(self.missed),
            "skipped": [{"path": str(path), "reason": reason} for path, reason in self.skipped],
            **self.verification.to_json(),
            "own": self.own and asdict(self.own),
            "identification": self.identification and self.identification.to_json(),
        }


def verify(
    embed: Embed,
    pairs: VerificationSet,
    *,
    mirror: bool = False,
    batch: int = BATCH,
    progress: Progress = silent,
) -> Verification:
    """Verification of a network on a set of pairs.

    Args:
        embed: takes (N, 112, 112, 3) RGB crops and gives (N, D) unit vectors.
        pairs: what `mien.evaluation.verification_set.read` gives.
        mirror: average each embedding with that of the mirrored crop.
        batch: the most crops that `embed` is given at a time.
        progress: is given what there is to do.

    Raises:
        BadInput: a picture of the set that cannot be used, or fewer than two pairs of each kind.
    """
    batches = progress(pairs.batches(batch), pairs.name)
    (embeddings,) = embed_all([embed], map(pairs.crops, batches), [mirror])
    return verification(embeddings[0::2], embeddings[1::2], pairs.same, name=pairs.name)


def embed_all(
    embeds: Iterable[Embed], crops: Iterable[Crops], mirrors: Sequence[bool]
) -> list[Embeddings]:
    """The embeddings of all crops by each network, and of each with every way to mirror.

    The crops are iterated once, so that faces are found and aligned once.
    """
    networks = list(embeds)
    parts: list[list[Embeddings]] = [[] for _ in networks for _ in mirrors]
    for batch in crops:
        seen = [view for embed in networks for view in embed_mirrored(embed, batch, mirrors)]
        for part, view in zip(parts, seen, strict=True):
            part.append(view)
    return [np.concatenate(part) if part else np.empty((0, 0), np.float32) for part in parts]


def verification(
    first: Embeddings,
    second: Embeddings,
    same: NDArray[np.bool_],
    folds: NDArray[np.intp] | None = None,
    *,
    name: str = "the set",
    in_folds: bool = True,
) -> Verification:
    """The figures of pairs, with accuracy over folds.

    Without folds of their own, pairs have ten of consecutive pairs, as those of InsightFace's sets
    have; where one of these has pairs of one kind only, the pairs of each kind are dealt to the
    folds in turn.

    Args:
        first: (N, D) unit vectors.
        second: (N, D) those that they are compared with.
        same: (N,) whether the two are one person.
        folds: (N,) the fold of each pair.
        name: what an error calls the set.
        in_folds: whether accuracy is counted at all.

    Raises:
        BadInput: fewer than two pairs of a kind.
    """
    least = require_pairs(same, name)
    scores = np.einsum("nd,nd->n", first, second)
    if not in_folds:
        return _verification(scores, same, None, dealt=False)
    dealt = False
    if folds is None:
        parts = np.array_split(np.arange(len(same)), FOLDS)
        folds = np.repeat(np.arange(FOLDS), [len(part) for part in parts])
        if dealt := any(len(np.unique(same[part])) < 2 for part in parts):
            folds = metrics.deal_folds(same, min(FOLDS, least))
    return _verification(scores, same, metrics.accuracy_by_folds(scores, same, folds), dealt)


def require_pairs(same: NDArray[np.bool_], name: str) -> int:
    """How many pairs there are of the rarer kind; BadInput if fewer than two."""
    least = int(min(same.sum(), (~same).sum()))
    if least < 2:
        raise BadInput(f"{name} has {least} pairs of a kind, same or different: two are needed")
    return least


def all_pairs(embeddings: Embeddings, people: ArrayLike) -> Verification:
    """The figures of every pair of photos, which has no folds and so no accuracy over them.

    Impostor pairs outnumber genuine ones by far, so that accuracy would say little.  Needs 75 bytes
    per pair.

    Args:
        embeddings: (N, D) unit vectors.
        people: (N,) whose they are, any values that can be compared; one with two photos at least,
            and two people.
    """
    impostors, genuine = impostor_scores(embeddings, people), genuine_scores(embeddings, people)
    scores = np.concatenate([impostors, genuine])
    return _verification(scores, np.arange(len(scores)) >= len(impostors), None, dealt=False)


def _verification(
    scores: Scores, same: NDArray[np.bool_], by_fold: metrics.FoldAccuracy | None, dealt: bool
) -> Verification:
    return Verification(
        scores=scores,
        same=same,
        by_fold=by_fold,
        dealt=dealt,
        tar={far: metrics.tar_at_far(scores, same, far) for far in FARS},
        eer=metrics.eer(scores, same),
    )


def identification(embeddings: Embeddings, people: ArrayLike, *, seed: int = 0) -> Identification:
    """The figures of identification among people enrolled with one photo each.

    Closed set: a photo of everyone, drawn, is enrolled, and every other photo is looked up.
    Open set: of the same photos only those of half of the people, drawn, are enrolled; all photos
    of the other half are looked up too, and should find nobody.

    Args:
        embeddings: (N, D) unit vectors.
        people: (N,) whose they are; two people at least, one of them with two photos.
        seed: of the draw.
    """
    random = np.random.default_rng(seed)
    _, person = np.unique(np.asarray(people), return_inverse=True)
    shuffled = random.permutation(len(person))
    gallery = shuffled[np.unique(person[shuffled], return_index=True)[1]]  # row p: person p's
    enrolled = np.sort(random.permutation(len(gallery))[: len(gallery) // 2])

    searched = np.setdiff1d(np.arange(len(person)), gallery)
    scores = embeddings[searched] @ embeddings[gallery].T
    places = metrics.ranks(scores, person[searched])
    cmc = np.cumsum(np.bincount(places, minlength=len(gallery) + 1)[1:]) / len(searched)

    known = np.isin(person[searched], enrolled)
    found = scores[np.ix_(known, enrolled)]
    right = metrics.ranks(found, np.searchsorted(enrolled, person[searched][known])) == 1
    strange = ~np.isin(person, enrolled)
    strangers = (embeddings[strange] @ embeddings[gallery[enrolled]].T).max(axis=1)
    return Identification(
        seed=seed,
        people=len(gallery),
        searches=len(searched),
        cmc=cmc,
        rank={k: float(cmc[k - 1]) if k < len(gallery) else None for k in RANKS},
        enrolled=len(enrolled),
        enrolled_searches=len(found),
        stranger_searches=len(strangers),
        tpir={
            fpir: metrics.tpir_at_fpir(found.max(axis=1), right, strangers, fpir) for fpir in FPIRS
        },
    )
