"""The commands about networks: models, benchmark train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import typer

from mien.cli import console
from mien.cli.options import Json
from mien.errors import needs_extra


def models(
    *,
    speed: Annotated[
        bool, typer.Option("--speed", help="Measure milliseconds a face; takes minutes.")
    ] = False,
    slim: Annotated[
        bool, typer.Option("--slim", help="Show the choices of the slim seesaw instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the models that ship with mien, and the networks that can be trained."""
    shipped = [] if slim else _shipped()
    networks = _slim_options() if slim else _networks(shipped)
    if speed:
        for entry, taken in zip(networks, _face_times(slim), strict=True):
            entry |= taken
    if as_json:
        console.document({"networks": networks} | ({} if slim else {"models": shipped}))
        return
    if not slim:
        console.table([("MODEL", "NUMBERS", "THRESHOLD", "FILE", "ID"), *map(_model_row, shipped)])
        console.say("")
    heading = ("NETWORK", "PARAMETERS", "MACS", *(("MS A FACE", "RATIO") if speed else ()))
    if slim:
        console.table([(*heading, "ARGUMENTS"), *map(_slim_row, networks)])
    else:
        console.table([(*heading, "LFW", "CFP-FP", "AGEDB", "OURS"), *map(_network_row, networks)])


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


def _slim_options() -> list[dict[str, Any]]:
    with needs_extra("building networks", "train"):
        from mien.training.backbones.count import sizes
        from mien.training.backbones.slim import OPTIONS
    entries = []
    for name, build in _builders(slim=True).items():
        learned, macs = sizes(build)
        arguments = OPTIONS.get(name, {})
        entries.append({"name": name, "parameters": learned, "macs": macs, "arguments": arguments})
    return entries


def _builders(*, slim: bool) -> dict[str, Callable[..., Any]]:
    from mien.training.backbones import BACKBONES
    from mien.training.backbones.slim import OPTIONS, slim_seesaw
    from mien.training.zoo import NETWORKS

    if not slim:
        return {name: BACKBONES[name] for name in NETWORKS}
    options = {name: partial(slim_seesaw, **arguments) for name, arguments in OPTIONS.items()}
    return {"seesaw_shuffle": BACKBONES["seesaw_shuffle"], **options}


def _face_times(slim: bool) -> list[dict[str, float]]:
    with needs_extra("measuring networks", "train"):
        from mien.benchmark.networks import face_times
    return [asdict(taken) for taken in face_times(_builders(slim=slim)).values()]


def _model_row(entry: dict[str, Any]) -> tuple[str, ...]:
    return (
        entry["name"],
        str(entry["dim"]),
        "none" if entry["threshold"] is None else f"{entry['threshold']:.3f}",
        f"{entry['bytes'] / 1e6:.1f} MB",
        entry["model_id"],
    )


def _size_cells(entry: dict[str, Any]) -> tuple[str, ...]:
    macs = entry["macs"] / 1e6
    cells: tuple[str, ...] = (
        entry["name"],
        f"{entry['parameters'] / 1e6:.2f} M",
        f"{macs:.1f} M" if macs < 1000 else f"{macs / 1000:.1f} G",
    )
    if "milliseconds" in entry:
        cells += (f"{entry['milliseconds']:.2f}", f"{entry['ratio']:.2f}")
    return cells


def _network_row(entry: dict[str, Any]) -> tuple[str, ...]:
    published = entry["published"]
    results = [published.get(name) for name in ("lfw", "cfp_fp", "agedb_30")] + [entry["ours"]]
    return (*_size_cells(entry), *("" if r is None else f"{r:.2f}" for r in results))


def _slim_row(entry: dict[str, Any]) -> tuple[str, ...]:
    said = ", ".join(f"{name}={value!r}" for name, value in entry["arguments"].items())
    return (*_size_cells(entry), said)


def benchmark_train(
    networks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NETWORK",
            show_default="seesaw_shuffle mobileface",
            help="Networks to time; mien models lists them.",
        ),
    ] = None,
    *,
    batch: Annotated[int, typer.Option(metavar="N", min=2, help="Photos in a step.")] = 64,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Processors to use.")] = 1,
    turns: Annotated[int, typer.Option(metavar="N", min=1, help="Steps of each.")] = 5,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, or cuda.")] = "cpu",
    hold: Annotated[
        bool, typer.Option("--hold-memory", help="From step to step, as mien train does.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure training: photos a second, beside the published formulation of the seesaw block."""
    with needs_extra("training", "train"):
        from mien.benchmark.train import rates

    measured = rates(
        networks or ("seesaw_shuffle", "mobileface"),
        batch=batch,
        threads=threads,
        turns=turns,
        device=device,
        hold=hold,
    )
    if as_json:
        console.document(
            {
                "batch": batch,
                "threads": threads,
                "turns": turns,
                "rates": [asdict(rate) for rate in measured],
            }
        )
        return
    rows = [
        (
            rate.network,
            rate.dtype,
            "last" if rate.channels_last else "first",
            f"{rate.photos_per_second:.1f}",
            f"{rate.slowest:.1f} to {rate.fastest:.1f}",
            f"{rate.ratio:.2f}",
        )
        for rate in measured
    ]
    console.table([("NETWORK", "DTYPE", "CHANNELS", "PHOTOS A SECOND", "RANGE", "RATIO"), *rows])
