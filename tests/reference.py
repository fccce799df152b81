"""Writes docs/reference.md: what `mien` exports, from its signatures and docstrings."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mien

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
SECTIONS = {
    "Recognition": "load Model Looked Policy enroll enroll_person rebuild Enrolment identify Seen "
    "compare Comparison",
    "Pictures": "read write walk annotate",
    "What is found": "Face Match Near NamedFace Skipped",
    "The facebank": "Facebank examine Health",
    "Collections": "PhotoIndex update look album cluster Clusters Review Question",
    "Evaluation": "calibrate Calibration Impostors evaluate Evaluation verify Verification "
    "Identification",
    "Errors": "MienError BadInput NoFace UnknownPerson BadFacebank FacebankMismatch BadModel "
    "CannotWrite MissingExtra",
}
HEAD = """\
# Python reference

<!-- make readme writes this page from the docstrings -->

Everything here can be imported from `mien`; `import mien` itself loads nothing until a name is
used. Pictures are upright RGB arrays of uint8, (H, W, 3). OpenCV's are BGR, and no check can tell:
pass `picture[..., ::-1]`. Scores are cosines in [-1, 1], rates are fractions.

What a user can cause and fix is a [`MienError`](#mienerror), whose text is one sentence: what was
wrong, and what to do. Mistakes of the calling program are `ValueError` or `TypeError`.

Threads may share a model on ONNX Runtime, but not a facebank: open it in each thread that uses it.
Processes share neither, and a model cannot be pickled: load one in each.
"""


def page() -> str:
    """The whole page.

    Raises:
        AssertionError: the sections do not hold each public name once.
    """
    assert sorted(" ".join(SECTIONS.values()).split()) == sorted(mien.__all__)
    parts = [HEAD]
    for title, names in SECTIONS.items():
        parts += [f"## {title}\n", *("\n".join(_entry(name)) for name in names.split())]
    return "\n".join(parts)


def _entry(name: str) -> Iterator[str]:
    thing = getattr(mien, name)
    if inspect.isclass(thing):
        yield from (f"### {name}", "", "```py", *_class(thing), "```", "", *_text(thing))
        for method, function in _methods(thing):
            yield from (f"**`{name}.{method}`**", "")
            if not isinstance(function, property):
                yield from ("```py", _call(method, function), "```", "")
            yield from _text(function)
    else:
        yield from (f"### {name}", "", "```py", _call(name, thing), "```", "", *_text(thing))


def _class(thing: type) -> Iterator[str]:
    """The head of a class, and its fields as in the source, with their comments."""
    bases = [base.__name__ for base in thing.__bases__ if base is not object]
    yield f"class {thing.__name__}({', '.join(bases)})" if bases else f"class {thing.__name__}"
    lines = textwrap.dedent(inspect.getsource(thing)).splitlines()
    (node,) = ast.parse("\n".join(lines)).body
    assert isinstance(node, ast.ClassDef)
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and not ast.unparse(field.target).startswith("_"):
            yield from lines[field.lineno - 1 : field.end_lineno]


def _methods(thing: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(thing).items():
        function = getattr(member, "__func__", member)
        if not name.startswith("_") and (
            inspect.isfunction(function) or isinstance(member, property)
        ):
            yield name, function


def _call(name: str, function: Any) -> str:
    signature = inspect.signature(function)
    told, starred = [], False
    for one in signature.parameters.values():
        if one.name in ("self", "cls"):
            continue
        starred = starred or one.kind is one.VAR_POSITIONAL
        if one.kind is one.KEYWORD_ONLY and not starred:
            told.append("*")
            starred = True
        told.append(_parameter(one))
    back = (
        ""
        if signature.return_annotation is signature.empty
        else f" -> {signature.return_annotation}"
    )
    short = f"{name}({', '.join(told)}){back}"
    if len(short) <= 100:
        return short
    return "\n".join([f"{name}(", *(f"    {one}," for one in told), f"){back}"])


def _parameter(one: inspect.Parameter) -> str:
    text = str(one.replace(annotation=one.empty, default=one.empty))
    if one.annotation is not one.empty:
        text += f": {one.annotation}"
    if one.default is not one.empty:
        shown = getattr(one.default, "__name__", None) or repr(one.default)
        text += f" = {shown}" if ":" in text else f"={shown}"
    return text


def _text(thing: Any) -> Iterator[str]:
    """A docstring, with its sections as lists."""
    lines: list[str] = []
    listed = False
    for line in inspect.cleandoc(thing.__doc__ or "").splitlines():
        if re.fullmatch(r"(Args|Returns|Yields|Raises):", line):
            lines += [f"*{line[:-1]}*", ""]
            listed = True
        elif listed and re.match(r"    \S", line):
            lines.append(re.sub(r"^(\*{0,2}\w[\w.]*(, \w+)*):", r"`\1`:", line.strip()))
            lines[-1] = f"- {lines[-1]}"
        elif listed and line.startswith(" "):
            lines[-1] += f" {line.strip()}"
        else:
            listed = listed and not line
            lines.append(line)
    yield from lines if lines else []
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
