"""The settings of a training run, each with its default, range and description.

The flags of `mien train`, its TOML files and the rule of what may change when a run resumes are all
derived from these fields.  Nothing here imports torch, so that `mien --help` comes at once.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from mien.errors import BadInput

_KEEP = re.compile(r"|best|[0-9]{1,6}|best,[0-9]{1,6}")

FIXED = "fixed"  # another value makes another run
CONTENT = "content"  # the path may change, its content may not
FREE = "free"  # may change when the run resumes

NETWORK, LOSS, TEACHER, OPTIMISATION, DATA, COMPUTATION = (
    "Network",
    "Loss",
    "Teacher",
    "Optimisation",
    "Data",
    "Computation",
)


@dataclass(frozen=True, slots=True)
class Setting:
    """The description of a field of `TrainConfig`, under the key "setting" of its metadata."""

    panel: str  # of the command's help
    help: str  # one sentence
    flags: tuple[str, ...] = ()  # of the command; by default the field's name
    metavar: str = "N"
    at_least: float = -math.inf
    above: float = -math.inf
    at_most: float = math.inf
    below: float = math.inf
    choices: tuple[str, ...] = ()
    unset: str = ""  # what None stands for
    resume: str = FIXED

    @property
    def range(self) -> str:
        """The values that are allowed, in words; empty where all are."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        limits = (
            ("at least", self.at_least),
            ("above", self.above),
            ("at most", self.at_most),
            ("below", self.below),
        )
        return " and ".join(f"{word} {_short(end)}" for word, end in limits if math.isfinite(end))

    def allows(self, value: Any) -> bool:
        """Whether a value is in range; NaN and infinity never are."""
        if self.choices:
            return value in self.choices
        if isinstance(value, str | bool):
            return True
        finite = math.isfinite(value)
        return (
            finite
            and self.at_least <= value <= self.at_most
            and (value > self.above and value < self.below)
        )


def _short(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:g}"


def _set(default: Any, panel: str, help: str, **more: Any) -> Any:
    return field(default=default, metadata={"setting": Setting(panel, help, **more)})


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """All settings of a run.

    The defaults are the recipe of SeesawFaceNet's own code, with Li-ArcFace as the loss.
    """

    data: str = _set(
        MISSING,
        DATA,
        "The data set, made by mien prepare.",
        flags=("--data", "-d"),
        metavar="DIR",
        resume=CONTENT,
    )
    backbone: str = _set(
        "seesaw_shuffle",
        NETWORK,
        "The network; mien models lists them.",
        flags=("--net", "-net"),
        metavar="NAME",
    )
    dim: int = _set(128, NETWORK, "Dimensions of an embedding.", at_least=2)
    weights: str | None = _set(
        None,
        NETWORK,
        "Initial weights: a checkpoint, an exported model, the name of one that ships, or a .pth "
        "of the original's code.",
        metavar="FILE",
        unset="random",
    )
    partial_weights: bool = _set(
        False, NETWORK, "Accept initial weights of which less than half fit the network."
    )

    loss: str = _set(
        "liarcface",
        LOSS,
        "liarcface, arcface, cosface, softmax, adaface, curricularface, magface, uniface or an "
        "entry point in mien.losses; none to learn from a teacher alone.",
        metavar="NAME",
    )
    margin: float | None = _set(
        None, LOSS, "Margin.", metavar="M", at_least=0, below=3.15, unset="the loss's"
    )
    scale: float | None = _set(
        None, LOSS, "Scale of the logits.", metavar="S", above=0, unset="the loss's"
    )
    negative_sample_rate: float = _set(
        1.0,
        LOSS,
        "Share of the other classes that a step samples (Partial FC).",
        metavar="SHARE",
        above=0,
        at_most=1,
    )
    label_smoothing: float = _set(
        0.0,
        LOSS,
        "Probability spread evenly over all classes.",
        metavar="SHARE",
        at_least=0,
        below=1,
    )

    teacher: str | None = _set(
        None,
        TEACHER,
        "A trained network to distil, in ONNX.",
        metavar="FILE",
        unset="none",
        resume=CONTENT,
    )
    teacher_scaling: str = _set(
        "imagenet",
        TEACHER,
        "How the teacher wants its pixels, as mien adopt --form.",
        metavar="FORM",
    )
    teacher_weight: float = _set(
        1.0, TEACHER, "Weight of distillation relative to the loss.", metavar="W", at_least=0
    )
    feature_weight: float = _set(
        0.3, TEACHER, "Weight of features relative to embeddings.", metavar="W", at_least=0
    )
    feature_steps: int | None = _set(
        None,
        TEACHER,
        "Steps in which the weight of features falls to zero; with targets, the teacher is not "
        "asked after them.",
        at_least=1,
        unset="constant",
    )
    block_steps: int = _set(
        0, TEACHER, "First steps, in which each block is distilled by itself.", at_least=0
    )
    block_lr: float = _set(
        3e-3, TEACHER, "Learning rate of those steps (AdamW).", metavar="LR", above=0
    )

    targets: bool = _set(False, TEACHER, "Learn from the targets that mien targets has computed.")
    similarity_weight: float = _set(
        0.1,
        TEACHER,
        "Weight of similarities to other pictures' targets, relative to a picture's own.",
        metavar="W",
        at_least=0,
    )

    lr: float = _set(
        0.1, OPTIMISATION, "Learning rate.", flags=("--lr", "-lr"), metavar="LR", above=0
    )
    optimizer: str = _set(
        "sgd", OPTIMISATION, "Optimizer.", metavar="NAME", choices=("sgd", "adamw")
    )
    momentum: float = _set(0.9, OPTIMISATION, "Momentum of SGD.", metavar="M", at_least=0, below=1)
    weight_decay: float = _set(
        4e-5,
        OPTIMISATION,
        "Weight decay; biases, batch norm and slopes have none.",
        metavar="D",
        at_least=0,
    )
    head_weight_decay: float = _set(
        4e-4,
        OPTIMISATION,
        "Weight decay of the embedding layer and of the class weights.",
        metavar="D",
        at_least=0,
    )
    schedule: str = _set(
        "milestones",
        OPTIMISATION,
        "Learning rate schedule.",
        metavar="NAME",
        choices=("milestones", "cosine"),
    )
    milestones: tuple[float, ...] = _set(
        (8.0, 12.0, 14.0),
        OPTIMISATION,
        "Epochs after which the learning rate is divided by 10.",
        metavar="E,E",
        above=0,
    )
    warmup: int = _set(0, OPTIMISATION, "Steps of linear warm-up.", at_least=0)
    epochs: float = _set(
        16.0, OPTIMISATION, "Epochs.", flags=("--epochs", "-e"), above=0, resume=FREE
    )
    steps: int | None = _set(
        None, OPTIMISATION, "Steps, instead of epochs.", at_least=1, unset="by epochs", resume=FREE
    )
    clip: float | None = _set(
        None, OPTIMISATION, "Clip the norm of the gradient to this.", above=0, unset="off"
    )
    ema: float = _set(
        0.0,
        OPTIMISATION,
        "Keep an exponential moving average of the weights, with this decay.",
        metavar="DECAY",
        at_least=0,
        below=1,
    )

    fold_after: int | None = _set(
        None,
        OPTIMISATION,
        "Steps after which batch norm is folded into the layers before it: faster from there on.",
        at_least=0,
        unset="never",
    )

    batch: int = _set(
        196, DATA, "Crops in a step, over all processes.", flags=("--batch", "-b"), at_least=2
    )
    accumulate: int = _set(
        1, DATA, "Parts to accumulate a step's gradient over.", at_least=1, resume=FREE
    )
    augment: str = _set(
        "flip",
        DATA,
        "Augmentations: all, or some of crop, flip, light, low_resolution, blur, jpeg, grey, dark, "
        "side_light, colour, occlude, erase, optionally with probabilities: flip,blur:0.3.",
        metavar="NAMES",
    )
    mixup: float = _set(
        0.0,
        DATA,
        "Mix pictures in pairs, and what they teach, in shares drawn from Beta(A, A); 0: never.",
        metavar="A",
        at_least=0,
    )
    validate: tuple[str, ...] = _set(
        (),
        DATA,
        "What to measure during the run: a .bin, a folder of them, or a list of pairs next to its "
        "photos (pairs.txt); repeatable.",
        metavar="SET",
        unset="none",
        resume=FREE,
    )
    validate_every: float = _set(1.0, DATA, "Epochs between validations.", above=0, resume=FREE)
    seed: int = _set(0, DATA, "Seed of everything random.", at_least=0, at_most=2**31 - 1)

    device: str | None = _set(
        None,
        COMPUTATION,
        "cpu, cuda or cuda:N.",
        metavar="NAME",
        unset="a GPU if there is one",
        resume=FREE,
    )
    precision: str | None = _set(
        None,
        COMPUTATION,
        "Precision of the forward and backward pass.",
        metavar="NAME",
        choices=("float32", "bf16", "fp16"),
        unset="the fastest",
    )
    channels_last: bool | None = _set(
        None,
        COMPUTATION,
        "Memory format.",
        flags=("--channels-last/--channels-first",),
        unset="the faster",
    )
    compile: bool = _set(False, COMPUTATION, "Use torch.compile.", resume=FREE)
    workers: int = _set(
        0,
        COMPUTATION,
        "Processes that load data, beside the run's own.",
        flags=("--workers", "-w"),
        at_least=0,
        resume=FREE,
    )
    threads: int | None = _set(
        None, COMPUTATION, "CPU threads.", at_least=1, unset="torch's choice", resume=FREE
    )
    save_every: int = _set(200, COMPUTATION, "Steps between checkpoints.", at_least=1, resume=FREE)
    keep: str = _set(
        "",
        COMPUTATION,
        "Weights to keep besides the last: best, by mean validation accuracy, and a number of "
        "recent checkpoints: best,3.",
        metavar="best,N",
        resume=FREE,
    )

    track: tuple[str, ...] = _set(
        (),
        COMPUTATION,
        "Where to report figures, besides the run's folder: mlflow, wandb or an entry point in "
        "mien.trackers; repeatable.",
        metavar="NAME",
        unset="nowhere",
        resume=FREE,
    )

    def check(self) -> None:
        """Raises BadInput, in one sentence, where a setting cannot be used."""
        for each, kind, _ in settings():
            _check(each.name, each.metadata["setting"], kind, getattr(self, each.name))
        if not _KEEP.fullmatch(self.keep):
            raise BadInput(f"--keep takes best, a number, or both as in best,3, not {self.keep!r}")
        if self.loss == "none" and self.teacher is None and not self.targets:
            raise BadInput(
                "--loss none needs something else to learn from: give --teacher or --targets too"
            )
        if self.keeps_best and not self.validate:
            raise BadInput("--keep best needs something to measure: give --validate too")
        if self.mixup and self.teacher is not None:
            raise BadInput("a teacher does not see what is mixed: give --targets, or no --mixup")
        if self.block_steps and self.teacher is None:
            raise BadInput("--block-steps distils a teacher: give --teacher too")

    def check_shares(self, processes: int) -> None:
        """Raises BadInput unless a batch can be divided among the processes of a run."""
        parts = self.accumulate * processes
        if self.batch < 2 * parts or self.batch % parts:
            raise BadInput(
                f"a batch of {self.batch} cannot be divided into {parts} equal parts of at least 2;"
                f" give a multiple of {parts}"
            )

    @property
    def keeps_best(self) -> bool:
        """Whether the weights of the best validation are kept."""
        return "best" in self.keep.split(",")

    @property
    def keeps_checkpoints(self) -> int:
        """How many checkpoints' weights are kept, the last among them."""
        return sum(int(part) for part in re.findall("[0-9]+", self.keep))

    def loss_settings(self) -> dict[str, float]:
        """The margin and scale that were given; the others are the loss's own."""
        given = {"margin": self.margin, "scale": self.scale}
        return {name: value for name, value in given.items() if value is not None}

    def total_steps(self, pictures: int) -> int:
        """Steps of the run, those of the blocks among them."""
        whole = self.steps if self.steps is not None else round(self.epochs * pictures / self.batch)
        return self.block_steps + max(1, whole)

    def to_dict(self) -> dict[str, Any]:
        """The settings as TOML; those that are None are left out."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value is not None
        }


@cache
def settings() -> tuple[tuple[Any, Any, bool], ...]:
    """Each field of `TrainConfig`, the type of its values, and whether it takes several."""
    found = []
    for each in fields(TrainConfig):
        hint = get_type_hints(TrainConfig)[each.name]
        several = getattr(hint, "__origin__", None) is tuple
        kinds = [kind for kind in get_args(hint) if kind not in (NoneType, ...)] or [hint]
        found.append((each, kinds[0], several))
    return tuple(found)


def flag(name: str) -> str:
    """The command's flag for a field."""
    setting: Setting = TrainConfig.__dataclass_fields__[name].metadata["setting"]
    return setting.flags[0].partition("/")[0] if setting.flags else "--" + name.replace("_", "-")


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _check(name: str, setting: Setting, kind: type, value: Any) -> None:
    if value is None and setting.unset:
        return
    for one in value if isinstance(value, tuple) else [value]:
        right = type(one) is kind or (kind is float and type(one) is int)
        if not right or not setting.allows(one):
            wanted = setting.range or _KINDS[kind]
            if setting.range and not setting.choices:
                wanted = f"{_KINDS[kind]} {wanted}"
            raise BadInput(f"{flag(name)} must be {wanted}, not {one!r}")


def read_toml(path: Path) -> dict[str, Any]:
    """The settings in a TOML file, which need not be all.

    Raises:
        BadInput: it cannot be read, or holds what is no setting.
    """
    from mien.files import contents  # and NumPy, which takes its time

    try:
        content = tomllib.loads(contents(path).decode())
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}): check its name") from error
    except ValueError as error:
        raise BadInput(f"{path} is not a TOML file ({error}): correct it") from error
    names = [each.name for each in fields(TrainConfig)]
    for name in content:
        if name not in names:
            like = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {like[0]!r}?" if like else "see mien train --help"
            raise BadInput(f"{path} sets {name!r}, which is not a setting of a run: {hint}")
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
    }
