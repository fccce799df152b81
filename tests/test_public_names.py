"""What the package says it offers is there, and nothing else is said."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from dataclasses import is_dataclass
from pathlib import Path

import pytest

import mien

SOURCE = ast.parse(Path(mien.__file__).read_text("utf-8"))


def for_type_checkers() -> dict[str, str]:
    """The names that the package imports for type checkers, and from where."""
    block = next(node for node in SOURCE.body if isinstance(node, ast.If))
    imported = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imported for alias in node.names}


def test_all_is_sorted_and_is_what_type_checkers_see() -> None:
    assert mien.__all__ == sorted(mien.__all__)
    assert set(mien.__all__) == set(for_type_checkers())


@pytest.mark.parametrize("name", mien.__all__)
def test_a_name_is_the_one_of_its_file(name: str) -> None:
    found = getattr(mien, name)
    assert found is getattr(importlib.import_module(for_type_checkers()[name]), name)
    assert inspect.isfunction(found) or inspect.isclass(found)
    assert found.__doc__


def test_dir_names_them_all() -> None:
    assert set(mien.__all__) <= set(dir(mien))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'recognise'"):
        mien.recognise  # type: ignore[attr-defined]  # noqa: B018


def test_no_file_takes_the_name_of_a_function() -> None:
    files = {path.stem for path in Path(mien.__file__).parent.iterdir()}
    assert not files & set(mien.__all__)


def test_star_import_brings_what_all_says() -> None:
    namespace: dict[str, object] = {}
    exec("from mien import *", namespace)
    assert set(mien.__all__) <= set(namespace)


@pytest.mark.parametrize("name", mien.__all__)
def test_a_path_may_be_a_text(name: str) -> None:
    """In every function, and where a class is made."""
    thing = getattr(mien, name)
    made = [one.__func__ for one in vars(thing).values() if isinstance(one, classmethod)]
    errors = inspect.isclass(thing) and issubclass(thing, Exception)
    if not (is_dataclass(thing) or errors):
        made.append(thing)  # others are what mien returns
    for function in made:
        for parameter in inspect.signature(function).parameters.values():
            kind = str(parameter.annotation)
            assert not re.match(r"(Iterable\[)?Path\b", kind), f"{name}: {parameter}"
