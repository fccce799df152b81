"""The command `models`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mien.cli import console
from mien.cli.options import Json


def models(*, as_json: Json = False) -> None:
    """List the models that ship with mien, and the networks that can be trained."""
    shipped = _shipped()
    networks = _networks(shipped)
    if as_json:
        console.document({"networks": networks, "models": shipped})
        return
    console.table([("MODEL", "NUMBERS", "THRESHOLD", "FILE", "ID"), *map(_model_row, shipped)])
    console.say("")
    heading = ("NETWORK", "PARAMETERS", "MACS", "LFW", "CFP-FP", "AGEDB", "OURS")
    console.table([heading, *map(_network_row, networks)])


def _shipped() -> list[dict[str, Any]]:
    from mien.recognition.embed import OnnxEmbedder
    from mien.recognition.model import model_file, shipped
    from mien.training.zoo import OURS

    entries = []
    for name in shipped():
        card, size = OnnxEmbedder(model_file(name)).card, model_file(name).stat().st_size
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


def _model_row(entry: dict[str, Any]) -> tuple[str, ...]:
    return (
        entry["name"],
        str(entry["dim"]),
        "none" if entry["threshold"] is None else f"{entry['threshold']:.3f}",
        f"{entry['bytes'] / 1e6:.1f} MB",
        entry["model_id"],
    )


def _network_row(entry: dict[str, Any]) -> tuple[str, ...]:
    published = entry["published"]
    results = [published.get(name) for name in ("lfw", "cfp_fp", "agedb_30")] + [entry["ours"]]
    return (
        entry["name"],
        console.millions(entry["parameters"], 2),
        console.millions(entry["macs"], 1),
        *("" if r is None else f"{r:.2f}" for r in results),
    )
