"""The command `models`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from mien.cli import console
from mien.cli.render import Answer, Column, Table


def models() -> Answer:
    """List the models that ship with mien, and the networks that can be trained."""
    shipped = _shipped()
    networks = _networks(shipped)
    return Answer(
        {"networks": networks, "models": shipped},
        [Table(_MODELS, shipped), "", Table(_NETWORKS, networks)],
    )


def _shipped() -> list[dict[str, Any]]:
    from mien.recognition.embedder import OnnxEmbedder
    from mien.recognition.model import model_file, shipped
    from mien.recognition.onnx.runtime import PLAIN
    from mien.training.zoo import OURS

    entries = []
    for name in shipped():
        card = OnnxEmbedder(model_file(name), runtime=PLAIN).card
        size = model_file(name).stat().st_size
        entries.append(
            {
                "name": name,
                "model_id": card.model_id,
                "dim": card.dim,
                "threshold": card.threshold,
                "bytes": size,
                "lfw": OURS.get(name),
                "calibration": card.calibration,
                "trained": card.trained,
            }
        )
    return entries


def _networks(shipped: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from mien.training.zoo import NETWORKS

    return [
        {
            "name": name,
            **asdict(entry),
            "models": [m["name"] for m in shipped if m["trained"].get("backbone") == name],
            "ours": next((m["lfw"] for m in shipped if m["trained"].get("backbone") == name), None),
        }
        for name, entry in NETWORKS.items()
    ]


def _accuracy(of: Callable[[dict[str, Any]], float | None]) -> Column:
    return lambda entry: "" if of(entry) is None else f"{of(entry):.2f}"


_MODELS: dict[str, Column] = {
    "MODEL": "{name}",
    "DIM": "{dim}",
    "THRESHOLD": "{threshold:.3f}",
    "FILE": lambda entry: f"{entry['bytes'] / 1e6:.1f} MB",
    "ID": "{model_id}",
}
_NETWORKS: dict[str, Column] = {
    "NETWORK": "{name}",
    "PARAMETERS": lambda entry: console.millions(entry["parameters"], 2),
    "MACS": lambda entry: console.millions(entry["macs"], 1),
    "LFW": _accuracy(lambda entry: entry["published"].get("lfw")),
    "CFP-FP": _accuracy(lambda entry: entry["published"].get("cfp_fp")),
    "AGEDB": _accuracy(lambda entry: entry["published"].get("agedb_30")),
    "OURS": _accuracy(lambda entry: entry["ours"]),
}
