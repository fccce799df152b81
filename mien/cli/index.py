"""The index that several commands share: where it is, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mien.cli import console
from mien.errors import CannotWrite

if TYPE_CHECKING:
    from mien.collection.photo_index import PhotoIndex
    from mien.facebank.stores import Store
    from mien.recognition.model import Model


@contextmanager
def opened(
    path: Path | None,
    none: bool,
    facebank: str,
    bank: Store | None,
    model: Model,
    *,
    required: bool = False,
) -> Iterator[PhotoIndex | None]:
    """The index that the options ask for; None where nothing is to be kept, or can be.

    Args:
        path: of --index.
        none: whether --no-index was given.
        facebank: the address of the facebank.
        bank: the facebank itself, where there is one: the index is encrypted as it is.
        model: will look at photos.
        required: whether the command is of no use where nothing can be kept.
    """
    from mien.collection.photo_index import PhotoIndex, beside, key_for
    from mien.collection.rows import Way

    if none:
        yield None
        return
    try:
        index = PhotoIndex(path or beside(facebank), key=key_for(bank))
    except CannotWrite as error:
        if required:
            raise
        console.note(f"what is found is not kept: {error}")
        yield None
        return
    with index:
        if others := index.of_other_models(Way.of(model)):
            console.note(
                f"{index.path} has {console.counted(others, 'photo')} with another model's vectors:"
                f" as they are asked for, their faces are embedded with {model.model_id}"
            )
        yield index
