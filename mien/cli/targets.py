"""The command that asks teachers about a data set.  It needs the extra `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli import console
from mien.cli.options import Balance, By, Share
from mien.cli.render import Answer, Table
from mien.errors import BadInput, needs_extra


def targets(
    data: Annotated[
        Path, typer.Argument(metavar="DIR", help="The data set that mien prepare made.")
    ],
    teacher: Annotated[
        list[str],
        typer.Option(
            "--teacher",
            metavar="FILE[:FORM]",
            help="A teacher in ONNX and its input form, as mien adopt --form. Repeat for several.",
        ),
    ],
    *,
    dim: Annotated[int, typer.Option(metavar="N", min=2, help="Dimensions of a target.")] = 128,
    balance: Balance = None,
    by: By = "age,group",
    share: Share = 1.0,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="CPU threads of a teacher.")] = 1,
) -> Answer:
    """Compute teachers' embeddings of a data set once, for mien train --targets."""
    with needs_extra("training", "train"):
        from mien.evaluation.demographics import read_labels
        from mien.recognition.input_form import input_form
        from mien.training import balance as training
        from mien.training import targets as verb

    asked = []
    for given in teacher:
        path, _, form = (given, "", "half") if Path(given).is_file() else given.rpartition(":")
        if not Path(path).is_file():
            raise BadInput(f"there is no teacher {path or form}: give FILE:FORM")
        input_form(form)
        asked.append((Path(path), form))
    made = verb.make(
        data,
        asked,
        dim=dim,
        balance=training.Balance(read_labels(balance), tuple(by.split(",")), share)
        if balance
        else None,
        threads=threads,
        progress=console.progress,
    )
    content = {
        "out": data / verb.FOLDER,
        "pictures": len(made.vectors),
        "dim": dim,
        "teachers": made.teachers,
        "energy": round(made.energy, 6),
        "balance": made.balance,
    }
    text: list[str | Table] = [
        f"{console.counted(len(made.vectors), 'target')} of {dim} numbers in {data / verb.FOLDER}",
        f"{made.energy:.1%} of the teachers' energy is kept",
    ]
    if made.balance:
        text.append(console.balanced(**made.balance))
    return Answer(content, text)
