"""A model's threshold and its origin, as `mien calibrate` measured it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mien.errors import BadInput
from mien.files import write_atomically
from mien.images import read_bytes
from mien.recognition.embedder import Card, OnnxEmbedder, with_card
from mien.recognition.onnx.runtime import PLAIN


def read(path: str | Path) -> dict[str, Any]:
    """Read the document that `mien calibrate --json` printed.

    Raises:
        BadInput: the file cannot be read, or is something else.
    """
    try:
        content = json.loads(read_bytes(path))
        float(content["chosen"]["threshold"])
        str(content["model_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is not what mien calibrate --json prints: run it again") from error
    return dict(content)


def calibrated(card: Card, calibration: Mapping[str, Any]) -> Card:
    """A copy of the card with this calibration.

    Args:
        card: a model's.
        calibration: what `read` or `Calibration.to_json` gives.

    Raises:
        BadInput: it is another model's.
    """
    if calibration["model_id"] != card.model_id:
        raise BadInput(
            f"the calibration is of {calibration['model_id']}, and this is {card.model_id}: "
            "run mien calibrate with this one"
        )
    kept = {key: value for key, value in calibration.items() if key != "skipped"}
    return replace(card, threshold=calibration["chosen"]["threshold"], calibration=kept)


def store(model: Path, out: Path, calibration: Mapping[str, Any]) -> Card:
    """Writes a copy of a model file with this calibration, and returns its card.

    Args:
        model: the file, which may be one that ships.
        out: where to write; may be the same.
        calibration: see `calibrated`.

    Raises:
        BadModel: it is no model of ours, or a damaged one.
        BadInput: the calibration is another model's.
        CannotWrite: the disk is full, read-only or forbidden.
    """
    embedder = OnnxEmbedder(model, threads=1, runtime=PLAIN)
    card = calibrated(embedder.card, calibration)
    write_atomically(out, with_card(embedder.network(), card))
    return card
