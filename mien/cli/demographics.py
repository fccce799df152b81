"""What `mien evaluate --labels` prints: false matches by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from mien.cli import console
from mien.cli.render import Answer, Table
from mien.evaluation.demographics import RATES, Differentials, GroupRates


def answer(found: Sequence[Differentials]) -> Answer:
    """For each model the thresholds, and the ratio of each group's rate to that of all."""
    content = {
        "rates": RATES,
        "models": [
            asdict(one)
            | {"groups": [asdict(group) | {"ratios": group.ratios} for group in one.groups]}
            for one in found
        ],
    }
    text = [part for one in found for part in _text(one)]
    return Answer(content, text, skipped=found[0].skipped)


def _text(one: Differentials) -> list[str | Table]:
    at = [f"FMR {rate:g}" for rate in RATES]
    lines: list[Any] = [("threshold", *(f"{threshold:.3f}" for threshold in one.thresholds))]
    if one.true_matches:
        lines.append(("true matches", *(f"{share:.1%}" for share in one.true_matches)))
    head = f"{one.model_id}: {console.counted(one.photos, 'photo')} of strangers"
    text: list[str | Table] = [head, Table(_columns(["", *at]), lines)]
    for label, groups in groupby(one.groups, lambda group: group.label):
        names = [label.upper(), "PHOTOS", *(f"x AT {rate:g}" for rate in RATES)]
        text += ["", Table(_columns(names), [_row(group) for group in groups])]
    return text


def _columns(names: Sequence[str]) -> dict[str, Any]:
    return {name: f"{{{k}}}" for k, name in enumerate(names)}


def _row(group: GroupRates) -> tuple[str, ...]:
    ratios = ("-" if ratio is None else f"{ratio:.1f}" for ratio in group.ratios)
    return (group.group, f"{group.photos:,}", *ratios)
