"""Losses against slow loops over single numbers."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="training is an extra: pip install 'mien[train]'")
F = torch.nn.functional

from mien.training.losses.distil import (  # noqa: E402
    channel_variance,
    cosine_distance,
    feature_distance,
    relational_distance,
    similarity_divergence,
)


def test_feature_distance_is_the_share_left_unexplained() -> None:
    teacher = torch.randn(3, 4, 5, 5) * torch.tensor([1.0, 5.0, 0.1, 20.0])[:, None, None]
    student = teacher + torch.randn_like(teacher)
    variance = torch.tensor([1.0, 25.0, 0.01, 400.0])
    shares = []
    for c in range(4):
        errors = [
            (student[n, c, i, j] - teacher[n, c, i, j]).item() ** 2
            for n in range(3)
            for i in range(5)
            for j in range(5)
        ]
        shares.append(sum(errors) / len(errors) / variance[c].item())
    distance = feature_distance(student, teacher, variance).item()
    assert distance == pytest.approx(sum(shares) / 4, rel=1e-5)


def test_a_student_that_knows_only_the_mean_is_at_one() -> None:
    teacher = torch.randn(64, 16) * torch.arange(1, 17)
    mean = teacher.mean(0).expand_as(teacher)
    assert feature_distance(teacher, teacher, channel_variance(teacher)).item() == 0
    assert feature_distance(mean, teacher, channel_variance(teacher)).item() == pytest.approx(
        1, abs=0.05
    )


def test_a_channel_that_never_changes_does_not_divide_by_zero() -> None:
    teacher = torch.randn(8, 2)
    teacher[:, 0] = 3
    assert channel_variance(teacher)[0] > 0


def test_cosine_distance() -> None:
    student, teacher = torch.randn(5, 7), torch.randn(5, 7)
    expected = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        dot = sum(a * b for a, b in zip(s, t, strict=True))
        expected += 1 - dot / math.sqrt(sum(a * a for a in s) * sum(b * b for b in t))
    assert cosine_distance(student, teacher).item() == pytest.approx(expected / 5, rel=1e-5)
    assert cosine_distance(student, 3 * student).item() == pytest.approx(0, abs=1e-6)


def test_relational_distance_compares_networks_of_any_size() -> None:
    student, teacher = torch.randn(4, 6), torch.randn(4, 9)

    def cosine(a: list[float], b: list[float]) -> float:
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))

    s, t = student.tolist(), teacher.tolist()
    gaps = [(cosine(s[i], s[j]) - cosine(t[i], t[j])) ** 2 for i in range(4) for j in range(4)]
    assert relational_distance(student, teacher).item() == pytest.approx(sum(gaps) / 16, rel=1e-4)


def test_similarity_divergence_is_of_softmaxes_without_the_picture_itself() -> None:
    student = torch.randn(3, 5)
    teacher, others = F.normalize(torch.randn(3, 5)), F.normalize(torch.randn(6, 5))
    others[2] = teacher[1]  # the second picture is among the others

    def shares(similarities: list[float]) -> list[float]:
        powers = [math.exp(similarity / 0.1) for similarity in similarities]
        return [power / sum(powers) for power in powers]

    expected = 0.0
    for n in range(3):
        unit = F.normalize(student[n], dim=0)
        rest = [k for k in range(6) if (n, k) != (1, 2)]
        p = shares([(teacher[n] @ others[k]).item() for k in rest])
        q = shares([(unit @ others[k]).item() for k in rest])
        expected += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    found = similarity_divergence(student, teacher, others, 0.1).item()
    assert found == pytest.approx(expected / 3, rel=1e-4)
    assert similarity_divergence(3 * teacher, teacher, others).item() == pytest.approx(0, abs=1e-6)


def test_losses_have_a_finite_gradient_where_the_student_is_perfect() -> None:
    teacher = torch.randn(4, 8)
    for loss in (cosine_distance, relational_distance):
        student = teacher.clone().requires_grad_()
        loss(student, teacher).backward()  # type: ignore[no-untyped-call]
        assert student.grad is not None
        assert student.grad.isfinite().all()
