"""Margin losses against slow loops over single numbers, and the table against what all must do."""

from __future__ import annotations

import doctest
import math
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training is an extra: pip install 'mien[train]'")

import toy  # noqa: E402

from mien.errors import BadInput  # noqa: E402
from mien.training.backbones import BACKBONES  # noqa: E402
from mien.training.losses import LOSSES, make  # noqa: E402
from mien.training.losses.adaface import AdaFace  # noqa: E402
from mien.training.losses.arcface import arcface  # noqa: E402
from mien.training.losses.cosface import cosface  # noqa: E402
from mien.training.losses.liarcface import liarcface  # noqa: E402
from mien.training.losses.margin import MarginHead  # noqa: E402
from mien.training.losses.softmax import softmax  # noqa: E402
from mien.training.losses.target import angle  # noqa: E402

NORMS = [30.0, 11.0, 24.5, 19.0, 27.0, 23.0]
LABELS = [0, 3, 1, 1, 4, 2]
Loss = Callable[..., Any]


def made(name: str, **settings: Any) -> Loss:
    """A loss of the table; AdaFace looks at the batch alone, as a slow loop can."""
    return make(name, **settings | ({"momentum": 1.0} if name == "adaface" else {}))


def called(name: str, **settings: Any) -> Loss:
    """A loss that needs cosines and labels only."""
    loss = made(name, **settings)
    return partial(loss, norms=torch.tensor(NORMS)) if name in ("adaface", "magface") else loss


def cosines() -> Any:
    """Six rows of five cosines from all of [-1, 1]; targets include both ends."""
    generator = torch.Generator().manual_seed(5)
    cosine = 2 * torch.rand(len(LABELS), 5, generator=generator) - 1
    for row, target in enumerate([1.0, -1.0, 0.9, -0.95, -0.3, 0.2]):
        cosine[row, LABELS[row]] = target
    return cosine


def changed(after: Any, before: Any) -> list[tuple[int, ...]]:
    return [tuple(place) for place in (after != before).nonzero().tolist()]


def slow_softmax(c: float, target: bool, norm: float) -> float:
    return 64 * c


def slow_cosface(c: float, target: bool, norm: float) -> float:
    return 30 * (c - 0.35) if target else 30 * c


def slow_arcface(c: float, target: bool, norm: float) -> float:
    if not target:
        return 64 * c
    wider = math.acos(c) + 0.5
    return 64 * (math.cos(wider) if wider < math.pi else c - 0.5 * math.sin(0.5))


def slow_liarcface(c: float, target: bool, norm: float) -> float:
    theta = math.acos(c) + (0.45 if target else 0)
    return 64 * (math.pi - 2 * theta) / math.pi


def slow_adaface(c: float, target: bool, norm: float) -> float:
    if not target:
        return 64 * c
    mean = sum(NORMS) / len(NORMS)
    deviation = math.sqrt(sum((n - mean) ** 2 for n in NORMS) / len(NORMS))
    quality = min(max((norm - mean) / (deviation + 0.001) * 0.333, -1), 1)
    theta = min(max(math.acos(c) - 0.4 * quality, 0), math.pi)
    return 64 * (math.cos(theta) - (0.4 * quality + 0.4))


def slow_magface(c: float, target: bool, norm: float) -> float:
    if not target:
        return 64 * c
    margin = 0.45 + 0.35 * (min(max(norm, 10), 110) - 10) / 100
    wider = math.acos(c) + margin
    return 64 * (math.cos(wider) if wider < math.pi else c - margin * math.sin(margin))


SLOW = {  # of those whose logits for softmax follow from one cosine and one length each
    "softmax": slow_softmax,
    "cosface": slow_cosface,
    "arcface": slow_arcface,
    "liarcface": slow_liarcface,
    "adaface": slow_adaface,
    "magface": slow_magface,
}
ONE_MARGIN = [name for name in SLOW if name != "magface"]


@pytest.mark.parametrize("name", SLOW)
def test_logits_are_those_of_a_slow_loop(name: str) -> None:
    cosine = cosines()
    expected = [
        [SLOW[name](c, column == LABELS[row], NORMS[row]) for column, c in enumerate(numbers)]
        for row, numbers in enumerate(cosine.tolist())
    ]
    logits = called(name)(cosine, torch.tensor(LABELS))
    torch.testing.assert_close(logits, torch.tensor(expected), rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize("name", ONE_MARGIN)
def test_the_margin_changes_one_logit_a_row_and_makes_it_smaller(name: str) -> None:
    cosine, labels = cosines(), torch.tensor(LABELS)
    if name == "softmax":
        with pytest.raises(ValueError, match=r"no margin, got 0\.5"):
            softmax(cosine, labels, margin=0.5)
        return
    with_margin, without = called(name)(cosine, labels), called(name, margin=0)(cosine, labels)
    assert changed(with_margin, without) == list(enumerate(LABELS))
    assert (with_margin <= without).all()


@pytest.mark.parametrize("name", ONE_MARGIN)
def test_without_a_margin_it_is_the_scaled_cosine_or_the_scaled_angle(name: str) -> None:
    cosine = cosines()
    logits = called(name, margin=0, scale=10)(cosine, torch.tensor(LABELS))
    limit = 1 - 2 * cosine.acos() / math.pi if name == "liarcface" else cosine
    torch.testing.assert_close(logits, 10 * limit, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("target", [-1.0, 1.0])
@pytest.mark.parametrize("other", [-1.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_value_and_gradient_are_finite_at_the_ends(
    name: str, target: float, other: float, dtype: Any
) -> None:
    cosine = torch.full((6, 5), other, dtype=dtype)
    cosine[range(6), LABELS] = target
    cosine.requires_grad_()
    logits = called(name)(cosine, torch.tensor(LABELS))
    assert logits.isfinite().all()
    torch.nn.functional.cross_entropy(logits, torch.tensor(LABELS), reduction="sum").backward()
    assert cosine.grad is not None
    assert cosine.grad.isfinite().all()


@pytest.mark.parametrize("name", ["softmax", "cosface", "arcface", "liarcface"])
def test_a_target_opposite_to_its_class_is_still_pulled(name: str) -> None:
    cosine = torch.tensor([[-1.0, 0.5]], requires_grad=True)
    labels = torch.tensor([0])
    torch.nn.functional.cross_entropy(LOSSES[name](cosine, labels), labels).backward()
    assert cosine.grad is not None
    assert cosine.grad[0, 0] < -1


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_goes_in_and_float32_comes_out(name: str, dtype: Any) -> None:
    cosine, labels = cosines().to(dtype), torch.tensor(LABELS)
    expected = called(name)(cosine.float(), labels)
    with torch.autocast("cpu", torch.bfloat16):
        logits = called(name)(cosine, labels)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, expected)


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        ((6,), [0] * 6, r"\(N, C\)"),
        ((6, 5, 1), [0] * 6, r"\(N, C\)"),
        ((6, 5), [0] * 5, r"\(6, 5\) and \(5,\)"),
        ((6, 5), [[0]] * 6, r"\(6, 5\) and \(6, 1\)"),
        ((6, 5), [0, 1, 2, 3, 4, 5], r"label 5 is not in \[0, 5\)"),
        ((6, 5), [0, 1, -1, 3, 4, 0], r"label -1 is not in \[0, 5\)"),
        ((6, 5), [0.0] * 6, "int64, not torch.float32"),
    ],
)
def test_what_does_not_fit_is_named(
    name: str, shape: tuple[int, ...], labels: list[Any], message: str
) -> None:
    targets = torch.tensor(labels)
    loss = made(name)
    if name in ("adaface", "magface"):
        loss = partial(loss, norms=torch.ones(targets.shape))
    with pytest.raises(ValueError, match=message):
        loss(torch.zeros(shape), targets)


@pytest.mark.parametrize("name", ["softmax", "cosface", "arcface", "liarcface"])
def test_the_target_falls_all_the_way_to_the_other_side(name: str) -> None:
    cosine = torch.linspace(1, -1, 20_001)[:, None]
    target = LOSSES[name](cosine, torch.zeros(len(cosine), dtype=torch.int64))[:, 0]
    assert (target.diff() < 0).all()


def test_the_angle_is_exact_at_the_ends_and_near_everywhere() -> None:
    ends = angle(torch.tensor([1.0, 0.0, -1.0])).tolist()
    assert ends == pytest.approx([0, math.pi / 2, math.pi], abs=1e-6)
    cosine = torch.cat([torch.linspace(-1, 1, 10_001), 1 - torch.logspace(-7, -3, 200)])
    error = (angle(cosine).double() - cosine.double().acos()).abs()
    assert error.max() < 1e-3  # 0.06 degrees
    assert error[cosine.abs() < 1 - 1e-5].max() < 1e-6


@pytest.mark.parametrize(
    ("margin", "at_0", "at_90", "at_180"),
    [
        (0.35, 0.7772, -0.2228, -1.2228),
        (0.40, 0.7454, -0.2546, -1.2546),
        (0.45, 0.7135, -0.2865, -1.2865),
        (0.50, 0.6817, -0.3183, -1.3183),
    ],
)
def test_liarcface_targets_of_the_paper(
    margin: float, at_0: float, at_90: float, at_180: float
) -> None:
    cosine = torch.tensor([[1.0], [0.0], [-1.0], [-math.cos(margin)]])
    labels = torch.zeros(4, dtype=torch.int64)
    logits = liarcface(cosine, labels, margin=margin, scale=1)[:, 0].tolist()
    assert logits == pytest.approx([at_0, at_90, at_180, -1], abs=1e-4)


@pytest.mark.parametrize(
    ("loss", "classes", "expected"),
    [
        (liarcface, 85_742, 29.69),
        (liarcface, 10_572, 27.60),
        (liarcface, 1_000, 25.24),
        (liarcface, 10, 20.53),
        (arcface, 85_742, 42.04),
        (arcface, 10_572, 39.95),
        (arcface, 1_000, 37.59),
        (arcface, 10, 32.88),
    ],
)
def test_the_first_loss_is_what_right_angles_give(
    loss: Loss, classes: int, expected: float
) -> None:
    labels = torch.tensor([classes - 1])
    logits = loss(torch.zeros(1, classes), labels)
    first = torch.nn.functional.cross_entropy(logits, labels).item()
    assert first == pytest.approx(expected, abs=0.01)


def test_adaface_is_arcface_for_the_worst_photo_and_cosface_for_the_average_one() -> None:
    cosine, labels = torch.full((3, 2), 0.4), torch.tensor([0, 1, 0])
    norms = torch.tensor([1.0, 21.0, 41.0])
    logits = AdaFace(momentum=1, concentration=10)(cosine, labels, norms=norms)
    settings: Any = {"margin": 0.4, "scale": 64}
    torch.testing.assert_close(logits[0], arcface(cosine, labels, **settings)[0])
    torch.testing.assert_close(logits[1], cosface(cosine, labels, **settings)[1])
    assert logits[2, 0].item() == pytest.approx(64 * (math.cos(math.acos(0.4) - 0.4) - 0.8))


def test_adaface_reads_the_norms_without_teaching_them() -> None:
    norms = torch.tensor([3.0], requires_grad=True)
    loss = AdaFace(momentum=1)
    logits = loss(torch.tensor([[0.5, 0.1]]), torch.tensor([0]), norms=norms)
    assert logits[0, 0].item() == pytest.approx(64 * (0.5 - 0.4), abs=1e-4)  # alone: average
    assert not logits.requires_grad
    with pytest.raises(ValueError, match=r"norms must be \(1,\), not \(2,\)"):
        loss(torch.zeros(1, 2), torch.tensor([0]), norms=torch.ones(2))


def test_the_example_of_liarcface_is_true() -> None:
    module = sys.modules["mien.training.losses.liarcface"]
    result = doctest.testmod(module, extraglobs={"torch": torch})
    assert (result.attempted, result.failed) == (1, 0)


def cosines_of(head: MarginHead, embeddings: Any) -> Any:
    normalize = torch.nn.functional.normalize
    return normalize(embeddings) @ normalize(head.weight).T


@pytest.mark.parametrize("name", SLOW)
def test_the_head_is_the_cross_entropy_of_a_slow_loop(name: str) -> None:
    torch.manual_seed(3)
    head = MarginHead(7, 5, made(name))
    embeddings = torch.randn(6, 7)
    embeddings *= torch.tensor(NORMS)[:, None] / embeddings.norm(dim=1, keepdim=True)
    total = 0.0
    for row, x in enumerate(embeddings.tolist()):
        logits = []
        for column, w in enumerate(head.weight.tolist()):
            dot = sum(a * b for a, b in zip(x, w, strict=True))
            cosine = dot / math.sqrt(sum(a * a for a in x) * sum(b * b for b in w))
            logits.append(SLOW[name](cosine, column == LABELS[row], NORMS[row]))
        total += math.log(sum(map(math.exp, logits))) - logits[LABELS[row]]
        if name == "magface":
            total += 35 * (1 / NORMS[row] + NORMS[row] / 110**2)
    loss = head(embeddings, torch.tensor(LABELS)).item()
    assert loss == pytest.approx(total / 6, rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_the_head_is_float32_under_autocast(name: str) -> None:
    torch.manual_seed(3)
    head = MarginHead(64, 5, made(name)).eval()  # so that no running average moves on
    embeddings, labels = torch.randn(6, 64), torch.tensor(LABELS)
    expected = head(embeddings, labels)
    with torch.autocast("cpu", torch.bfloat16):
        loss = head(embeddings, labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)
    assert head(embeddings.bfloat16(), labels).item() == pytest.approx(expected.item(), rel=0.02)


@pytest.mark.parametrize("name", LOSSES)
def test_the_head_teaches_from_the_very_ends(name: str) -> None:
    head = MarginHead(3, 2, made(name))
    embeddings = torch.stack([head.weight[0] * 4, head.weight[1] * -5, torch.zeros(3)]).detach()
    embeddings.requires_grad_()
    head(embeddings, torch.tensor([0, 1, 0])).backward()
    for grad in (embeddings.grad, head.weight.grad):
        assert grad is not None
        assert grad.isfinite().all()
        assert grad.any()


@pytest.mark.parametrize("name", LOSSES)
def test_the_head_learns(name: str) -> None:
    torch.manual_seed(0)
    head = MarginHead(8, 6, made(name))
    embeddings = torch.nn.Parameter(torch.randn(6, 8))
    labels = torch.arange(6)
    optimizer = torch.optim.SGD([embeddings, *head.parameters()], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        head(embeddings, labels).backward()
        optimizer.step()
    assert torch.equal(cosines_of(head, embeddings).argmax(1), labels)


def test_the_head_takes_a_loss_with_its_own_margin() -> None:
    torch.manual_seed(1)
    head = MarginHead(512, 40, partial(liarcface, margin=0.3, scale=16))
    cosine = cosines_of(head, head.weight * 3).clamp(-1, 1)
    labels = torch.arange(40)
    logits = liarcface(cosine, labels, margin=0.3, scale=16)
    expected = torch.nn.functional.cross_entropy(logits, labels)
    assert head(head.weight * 3, labels).item() == pytest.approx(expected.item(), rel=1e-3)


@pytest.mark.parametrize("shape", [(4,), (4, 7), (4, 8, 1)])
def test_the_head_refuses_embeddings_of_another_size(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"embeddings must be \(N, 8\)"):
        MarginHead(8, 3, liarcface)(torch.zeros(shape), torch.zeros(4, dtype=torch.int64))


def test_the_head_refuses_a_label_that_is_no_class() -> None:
    with pytest.raises(ValueError, match=r"label 3 is not in \[0, 3\)"):
        MarginHead(8, 3, liarcface)(torch.zeros(1, 8), torch.tensor([3]))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_faces_that_are_nobodys_teach_nothing(name: str, smoothing: float) -> None:
    if name == "uniface" and smoothing:
        with pytest.raises(ValueError, match="takes no label_smoothing"):
            MarginHead(7, 5, made(name), label_smoothing=smoothing)
        return
    head = MarginHead(7, 5, made(name), label_smoothing=smoothing).eval()
    embeddings = torch.randn(6, 7, generator=torch.Generator().manual_seed(3))
    labels = torch.tensor([0, 3, 0, 3, -1, -1])
    alone = head(embeddings[:4], labels[:4])
    assert head(embeddings, labels).item() == pytest.approx(alone.item())
    assert head(embeddings, torch.full((6,), -1)).item() == 0


def test_label_smoothing_is_that_of_torch() -> None:
    head = MarginHead(7, 5, liarcface, label_smoothing=0.1)
    embeddings = torch.randn(6, 7, generator=torch.Generator().manual_seed(3))
    labels = torch.tensor(LABELS)
    logits = liarcface(cosines_of(head, embeddings), labels)
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    assert head(embeddings, labels).item() == pytest.approx(expected.item(), rel=1e-5)


def test_some_negatives_are_chosen_anew_in_every_step_and_the_truth_is_among_them() -> None:
    head = MarginHead(16, 1000, liarcface, negative_sample_rate=0.1, seed=2)
    embeddings = torch.randn(4, 16, generator=torch.Generator().manual_seed(3))
    labels = torch.tensor([999, 0, 500, 500])
    looked_at: list[list[int]] = []
    for step in (0, 1, 1):
        head.weight.grad = None
        loss = head(embeddings, labels, step)
        loss.backward()
        assert head.weight.grad is not None
        rows = head.weight.grad.abs().sum(1).nonzero()[:, 0]
        assert {0, 500, 999} <= set(rows.tolist())
        assert len(rows) == 100
        logits = liarcface(cosines_of(head, embeddings)[:, rows], torch.searchsorted(rows, labels))
        expected = torch.nn.functional.cross_entropy(logits, torch.searchsorted(rows, labels))
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        looked_at.append(rows.tolist())
    assert looked_at[0] != looked_at[1] == looked_at[2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"negative_sample_rate": 0}, "negative_sample_rate"),
        ({"label_smoothing": 1}, "label_smoothing"),
    ],
)
def test_shares_out_of_range(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MarginHead(8, 3, liarcface, **settings)


# Losses with state.


def test_adaface_keeps_running_averages_of_the_lengths() -> None:
    loss = AdaFace()
    mean, deviation = 20.0, 100.0
    for lengths in ([30.0, 10.0], [20.0, 40.0], [0.0, 500.0]):
        cosine, labels = torch.tensor([[0.4, 0.1], [0.2, 0.3]]), torch.tensor([0, 1])
        logits = loss(cosine, labels, norms=torch.tensor(lengths))
        kept = [min(max(length, 1e-3), 100) for length in lengths]
        middle = sum(kept) / 2
        mean = 0.99 * mean + 0.01 * middle
        deviation = 0.99 * deviation + 0.01 * math.sqrt(sum((k - middle) ** 2 for k in kept) / 2)
        for row, length in enumerate(kept):
            quality = min(max((length - mean) / (deviation + 1e-3) * 0.333, -1), 1)
            theta = math.acos(cosine[row, row].item()) - 0.4 * quality
            expected = 64 * (math.cos(theta) - 0.4 - 0.4 * quality)
            assert logits[row, row].item() == pytest.approx(expected, abs=2e-4)
    before = loss.mean.item()
    loss.eval()(cosine, labels, norms=torch.tensor([1.0, 2.0]))
    assert loss.mean.item() == before


def test_curricularface_is_that_of_a_slow_loop() -> None:
    loss, t = make("curricularface"), 0.0
    cosine, labels = cosines(), torch.tensor(LABELS)
    targets = cosine.gather(1, labels[:, None])[:, 0]
    known = torch.tensor([True] * 5 + [False])
    for _ in range(3):
        logits = loss(cosine, labels, targets=targets, known=known)
        t = 0.99 * t + 0.01 * sum(targets.tolist()[:5]) / 5
        for row, numbers in enumerate(cosine.tolist()):
            own = numbers[LABELS[row]]
            bar = math.cos(math.acos(own) + 0.5)
            for column, c in enumerate(numbers):
                if column == LABELS[row]:
                    beyond = math.acos(own) + 0.5 > math.pi
                    expected = own - 0.5 * math.sin(0.5) if beyond else bar
                else:
                    expected = c * (t + c) if c > bar else c
                assert logits[row, column].item() == pytest.approx(64 * expected, abs=5e-3)


def test_uniface_is_a_binary_cross_entropy_of_every_class() -> None:
    torch.manual_seed(3)
    head = MarginHead(7, 5, make("uniface"), negative_sample_rate=1.0)
    (bias,) = head.shared()
    assert bias.item() == pytest.approx(math.log(50))
    embeddings = torch.randn(6, 7)
    total = 0.0
    for row, numbers in enumerate(cosines_of(head, embeddings).tolist()):
        for column, c in enumerate(numbers):
            own = column == LABELS[row]
            z = 64 * (c - 0.4 * own) - math.log(50)
            total += math.log1p(math.exp(-z if own else z))
    loss = head(embeddings, torch.tensor(LABELS))
    assert loss.item() == pytest.approx(total / 6, rel=1e-4)
    loss.backward()
    assert bias.grad is not None and bias.grad != 0


def test_magface_teaches_the_lengths() -> None:
    head = MarginHead(8, 3, make("magface"))
    embeddings = 2 * torch.randn(4, 8, generator=torch.Generator().manual_seed(1)) + 10
    embeddings.requires_grad_()
    head(embeddings, torch.tensor([0, 1, 2, 0])).backward()
    assert embeddings.grad is not None
    along = (embeddings.grad * embeddings).sum(1)  # a direction's alone would be across
    assert (along.abs() > 1e-3).all()


def test_every_loss_is_the_same_on_two_ranks(tmp_path: Path) -> None:
    torch.save(toy.heads(), tmp_path / "alone.pt")
    command = [sys.executable, toy.__file__, "heads", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    alone, *ranks = (torch.load(tmp_path / f"{name}.pt") for name in ("alone", 0, 1))
    for name in LOSSES:
        one, (first, second) = alone[name], [rank[name] for rank in ranks]
        for key, value in one.items():
            if key in ("embeddings", "weight"):  # each rank has some of the rows
                together = torch.cat([first[key], second[key]])
            else:
                together = first[key]
                torch.testing.assert_close(second[key], together)
            torch.testing.assert_close(together, value, rtol=1e-4, atol=1e-5, msg=f"{name} {key}")


def test_a_loss_and_a_network_of_another_package_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "theirs-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[mien.losses]\nhalfface = theirs:halfface\n[mien.networks]\nplain = theirs:Plain\n"
    )
    (tmp_path / "theirs.py").write_text(
        "def halfface(cosine, labels, *, margin=0.0, scale=2.0):\n    return scale * cosine / 2\n"
        "class Plain: pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert make("halfface", scale=4.0)(torch.ones(1, 1), torch.tensor([0])).item() == 2
    assert BACKBONES["plain"].__name__ == "Plain"
    assert "plain" in BACKBONES and "plane" not in BACKBONES
    with pytest.raises(BadInput, match=r"no loss 'thirdface'; use one of: softmax, .*, halfface"):
        make("thirdface")
