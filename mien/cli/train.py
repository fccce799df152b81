"""The command that trains.  It needs the extra `train`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli import console
from mien.cli.render import Answer
from mien.errors import BadInput, needs_extra
from mien.training.config import NETWORK, Setting, TrainConfig, read_toml, settings

if TYPE_CHECKING:
    from mien.training.run import Run

# What the original calls its networks, as far as it has names for them.
OLD_NETWORKS = {
    "seesawFaceNet": "seesaw_shuffle",
    "mobilefacenet": "mobileface",
    "ir": "ir_{depth}",
    "ir_se": "ir_se_{depth}",
}
_SEARCH = "Before a run"


def _option(name: str, kind: type, several: bool, default: Any, setting: Setting) -> Any:
    """The parameter of a command for a setting."""
    help = setting.help
    if setting.choices:
        help = f"{help.rstrip('.')}: {', '.join(setting.choices)}."
    elif setting.range:
        help = f"{help} ({setting.range})"
    flags = setting.flags or ("--" + name.replace("_", "-"),)
    if kind is bool and len(flags) == 1 and "/" not in flags[0]:
        flags = (f"{flags[0]}/--no-{flags[0][2:]}",)
    if several:
        default = ",".join(f"{each:g}" for each in default) or None
    taken: Any = kind
    if several:  # lists of numbers are one text, of texts an option that may be repeated
        taken = list[str] if kind is str else str
    option = typer.Option(
        *flags,
        help=help,
        metavar=None if kind is bool else setting.metavar,
        rich_help_panel=setting.panel,
        show_default=setting.unset or (default is not MISSING and default is not False),
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None if default is MISSING else default,
        annotation=Annotated[taken | None, option],
    )


def _with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command an option for each field of `TrainConfig`, in place of its `**given`."""
    signature = inspect.signature(command, eval_str=True)
    own = [one for one in signature.parameters.values() if one.name != "given"]
    fields = [
        _option(each.name, kind, several, each.default, each.metadata["setting"])
        for each, kind, several in settings()
    ]
    parameters = [own[0], fields[0], *own[1:], *fields[1:]]  # the context and the data first
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


@_with_settings
def train(
    context: typer.Context,
    *,
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="The run's folder; a run there is resumed."),
    ] = Path("run"),
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Settings in TOML, like a run's config.toml; flags override it.",
        ),
    ] = None,
    depth: Annotated[
        int,
        typer.Option(
            "--depth",
            "-depth",
            metavar="N",
            rich_help_panel=NETWORK,
            help="Layers of ir and ir_se: 50, 100, 152.",
        ),
    ] = 50,
    find_lr: Annotated[
        bool,
        typer.Option(
            "--find-lr", rich_help_panel=_SEARCH, help="Find a good learning rate, and plot why."
        ),
    ] = False,
    find_batch: Annotated[
        bool,
        typer.Option("--find-batch", rich_help_panel=_SEARCH, help="Find the fastest batch size."),
    ] = False,
    **given: Any,
) -> Answer | None:
    """Train a network, on one machine or, under torchrun, on many.

    The defaults are the recipe of SeesawFaceNet's own code, with Li-ArcFace as the loss.
    """
    whole = configured(said(context), config, depth)
    if find_lr:
        return _find_lr(whole, out)
    return _find_batch(whole) if find_batch else _train(whole, out)


def said(context: Any) -> dict[str, Any]:
    """The settings that a command line says, which come before a file's."""
    return {
        each.name: context.params[each.name]
        for each, _, _ in settings()
        if context.get_parameter_source(each.name).name == "COMMANDLINE"
    }


def configured(given: dict[str, Any], file: Path | None = None, depth: int = 50) -> TrainConfig:
    """The configuration of a command line.

    Args:
        given: value by setting, of those that the line says.
        file: of TOML, for what the line does not say.
        depth: of ir and ir_se.

    Raises:
        BadInput: a setting cannot be used, or there is no data set.
    """
    values = (read_toml(file) if file else {}) | given
    if "backbone" in values:
        values["backbone"] = OLD_NETWORKS.get(values["backbone"], values["backbone"]).format(
            depth=depth
        )
    if isinstance(values.get("milestones"), str):
        values["milestones"] = tuple(_numbers(values["milestones"]))
    for name in ("validate", "track"):
        values[name] = tuple(values.get(name, ()))
    if "data" not in values:
        raise BadInput("there is nothing to train on: give --data DIR, made by mien prepare")
    config = TrainConfig(**values)
    config.check()
    return config


def _numbers(text: str) -> Iterator[float]:
    try:
        yield from (float(part) for part in re.split(r"[, ]+", text) if part)
    except ValueError as error:
        raise BadInput(f"--milestones are epochs such as 8,12,14, not {text!r}") from error


def _train(config: TrainConfig, out: Path) -> Answer | None:
    with needs_extra("training", "train"):
        from mien.training import distributed, loop, run

    if config.precision == "fp16" and run.device_of(config).type == "cpu":
        raise BadInput("processors are slow in fp16: give --precision bf16 or float32")

    def report(entry: dict[str, Any]) -> None:
        left = int(entry["seconds_left"])
        console.note(
            f"step {entry['step']} of {entry['steps']}, epoch {entry['epoch']:.2f}, "
            f"loss {entry['loss']:.4f}, lr {entry['lr']:.2g}, "
            f"{entry['photos_per_second']:.0f} photos per second, "
            f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
        )
        for name, accuracy in entry.get("validation", {}).items():
            console.note(f"{name}: {100 * accuracy:.2f} %")

    def begun(run: Run) -> None:
        if run.weights_taken:
            taken, of = run.weights_taken
            console.note(f"{taken} of {of} tensors are from {config.weights}, the others random")
        goes_on = f" from step {run.steps_done}" if run.steps_done else ""
        console.note(
            f"training {config.backbone} into {out}{goes_on}, in {run.precision}: "
            "Ctrl-C saves, and the same command goes on"
        )

    last = loop.train(config, out, report, begun)
    return Answer({"checkpoint": last}, [str(last)]) if distributed.is_main() else None


def _find_lr(config: TrainConfig, out: Path) -> Answer | None:
    with needs_extra("training", "train"):
        from mien.training import distributed, find_lr
        from mien.training.plots import draw_lrs

    sweep = find_lr(config)
    if not distributed.is_main():
        return None
    picture = out / "lrs.png"
    draw_lrs(sweep, picture)
    return Answer(
        {**asdict(sweep), "picture": picture},
        [f"-lr {sweep.suggested:.2g}: a tenth of where the loss climbs; see {picture}"],
    )


def _find_batch(config: TrainConfig) -> Answer:
    with needs_extra("training", "train"):
        from mien.training import find_batch

    trials = []
    for trial in find_batch(config):
        trials.append(trial)
        console.note(f"-b {trial.batch}: {trial.photos_per_second:.1f} photos per second")
    best = max(trials, key=lambda trial: trial.photos_per_second)
    return Answer(
        {"suggested": best.batch, "trials": trials}, [f"-b {best.batch} is the fastest here"]
    )
