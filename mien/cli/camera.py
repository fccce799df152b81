"""The command `camera`, and what enroll does with one."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from mien.cli import console, options
from mien.cli.json_entries import SightingEntry, inside, sighting_entry
from mien.cli.render import Answer, Form, show_each
from mien.cli.video import span
from mien.errors import BadInput, needs_extra, without_password

if TYPE_CHECKING:
    from mien.recognition.model import Model
    from mien.types import Image
    from mien.verbs.watch import Moment, Sighting

Source: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE", help="The number of a camera, the address of a stream, or a video."
    ),
]


def camera(
    source: Source = "0",
    *,
    facebank: options.FacebankPath,
    seconds: Annotated[
        float | None,
        typer.Option(metavar="S", min=0, help="Stop after S seconds; otherwise at Ctrl-C or q."),
    ] = None,
    window: Annotated[
        bool,
        typer.Option("--window/--no-window", help="Show the frames, or only report who was there."),
    ] = True,
    threshold: options.Threshold = None,
    fpir: options.Fpir = None,
    model: options.FacebankModel = None,
    detector: options.DetectorName = options.DEFAULT_DETECTOR,
    calibration: options.Calibration = None,
    as_json: options.Json = False,
    json_lines: Annotated[
        bool, typer.Option("--json-lines", help="Print a line of JSON for each sighting.")
    ] = False,
) -> Answer:
    """Say who is in front of a camera right now."""
    from mien.facebank.stores import open_store
    from mien.recognition.model import load

    with needs_extra("looking at a camera", "video"):
        from mien.verbs.watch import Moment, watch
        from mien.video.camera import Camera

    form = Form.of(as_json, json_lines)
    shown = window and form is Form.TEXT
    if shown and (why := no_window()):
        raise BadInput(
            f"no window can be opened ({why}): use mien serve, whose page shows a camera in a"
            " browser, or --no-window"
        )
    network = load(model or options.model_of(facebank), detector=detector, calibration=calibration)
    policy = network.policy(threshold=threshold, fmr=fpir)
    name = without_password(source)
    watched = Camera(source, note=console.note)
    stills, last = 0, 0.0

    def sightings(found: Iterable[Moment | Sighting]) -> Iterator[SightingEntry]:
        nonlocal stills, last
        for seen in found:
            if isinstance(seen, Moment):
                stills, last = stills + 1, seen.frame.time
            else:
                yield sighting_entry(name, seen)

    with (
        open_store(facebank, model_id=network.model_id) as bank,
        _interrupted_by(watched.stop) as signals,  # then it is said who was there last
    ):
        frames = watched.stills(_wanted) if shown else watched.stills()
        if seconds is not None:
            frames = takewhile(lambda frame: frame.time < seconds, frames)
        found = watch(frames, network, bank, path=Path(name), policy=policy, patience=0)
        seen = sightings(_in_window(found, name) if shown else found)
        kept = show_each(seen, form, lambda one: console.say(_sentence(one)))
    rate = round(stills / last, 1) if last else None
    about = {"path": name, "stills": stills, "fps": rate, "sightings": inside(kept)}
    return Answer(
        about | ({"broken": watched.broken} if watched.broken else {}),
        [],
        [watched.broken] if watched.broken else [],
        code=_code(signals, bool(watched.broken)),
    )


@contextmanager
def _interrupted_by(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Makes the first Ctrl-C or SIGTERM an end that `stop` brings about; which has come."""
    come: list[int] = []

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def end(number: int, _: object) -> None:
        come.append(number)
        restore()
        stop()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield come
    finally:
        restore()


def _code(signals: list[int], broken: bool) -> int:
    """The exit code: Ctrl-C is the normal way to end it; a service also sees SIGTERM."""
    if signal.SIGTERM in signals:
        return console.SIGNALLED + signal.SIGTERM
    return console.SKIPPED if broken else 0


def _sentence(one: SightingEntry) -> str:
    return f"{span(one)}  {one.person or 'unknown'}  {one.score:.2f}"


def no_window() -> str | None:
    """Why no window can be opened; None: one is open."""
    import cv2

    if sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return "there is no display"  # some builds would end the process
    try:
        cv2.namedWindow("mien", cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL)  # without buttons
        cv2.resizeWindow("mien", 960, 540)
    except cv2.error:
        return "that needs opencv-python in place of opencv-python-headless"
    return None


def _show(image: Image, title: str) -> None:
    import cv2

    cv2.imshow("mien", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    cv2.setWindowTitle("mien", title)


def _wanted() -> bool:
    """Whether the window is open still; it is drawn and hears keys only when this is asked."""
    import cv2

    left = cv2.waitKey(1) in (ord("q"), 27)
    try:
        return not left and cv2.getWindowProperty("mien", cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:  # as Qt has it where the last window was closed
        return False


def _in_window(found: Iterable[Moment | Sighting], name: str) -> Iterator[Moment | Sighting]:
    """The same, shown."""
    from mien import draw
    from mien.verbs.watch import Moment

    times: deque[float] = deque(maxlen=30)
    for seen in found:
        if isinstance(seen, Moment):
            times.append(time.monotonic())
            rate = (len(times) - 1) / max(times[-1] - times[0], 1e-3)
            image = draw.annotate(seen.frame.image(), seen.faces)
            _show(image, f"{name}: {rate:.0f} frames per second")
        yield seen


def take_photos(
    person: str, folder: Path, source: str, network: Model, *, photos: int, countdown: float
) -> list[Path]:
    """Take photos of a person into their folder, under one for all people; the files."""
    from datetime import UTC, datetime

    from mien import draw, images
    from mien.facebank.rows import person_name

    with needs_extra("taking photos", "video"):
        from mien.verbs.capture import portraits
        from mien.video.camera import Camera

    person = person_name(person)
    files: list[Path] = []
    said = ""
    shown = no_window() is None
    watched = Camera(source, note=console.note)
    stills = watched.stills(_wanted) if shown else watched.stills()
    for attempt in portraits(stills, network, photos=photos, countdown=countdown):
        text = attempt.hint or f"hold still: {math.ceil(attempt.left or 0)}"
        if text != said and attempt.photo is None:
            console.note(text)
            said = text
        if shown:
            labels = [draw.Label(face, text, attempt.hint is None) for face in attempt.faces]
            _show(draw.draw(attempt.frame.image(), labels), text)
        if attempt.photo is not None:
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
            files.append(folder / person / f"{stamp}.jpg")
            images.write(files[-1], attempt.photo)
            console.note(f"took {files[-1]}")
    if watched.broken:
        console.note(watched.broken)
    if not files:
        raise BadInput(f"no photo of {person} was taken: {said or 'the camera sent no picture'}")
    return files
