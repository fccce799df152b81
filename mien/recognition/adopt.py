"""Turns another project's network into a model file that every command takes.

Nearly all face recognisers in ONNX take aligned crops as floats, (N, 3, 112, 112), and return
vectors of any length.  The file written here wraps such a network like our own: it takes crops as
uint8, returns unit vectors, and holds a model card.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import BadModel
from mien.files import contents, write_atomically
from mien.recognition.align import SIZE
from mien.recognition.embedder import (
    BATCH,
    Card,
    canary_crop,
    crops_to_compare,
    make_card,
    with_card,
)
from mien.recognition.input_form import InputForm, input_form, told
from mien.recognition.onnx import graph
from mien.recognition.onnx.protobuf import field, fields, metadata, number, whole_fields
from mien.recognition.onnx.session import load_network, runtime_errors

TOLERANCE = 1e-4  # largest difference of a coordinate between a batch and single crops
_OLDEST = 8  # first ONNX IR version whose initializers need not be inputs
_DETECTS = 6  # a network with this many outputs or more is a detector


@dataclass(frozen=True, slots=True)
class Subtraction:
    """What is subtracted from a unit vector v before it is normalised again.

    That is softmax(v @ weight + bias) @ means: the expected mean of a face's class.
    """

    weight: NDArray[np.float32]  # (D, classes)
    bias: NDArray[np.float32]  # (classes,)
    means: NDArray[np.float32]  # (classes, D), scaled by the share to subtract


class Recogniser:
    """Another project's face recogniser.

    Args:
        file: ONNX; float32 (N, 3, S, S) or (N, S, S, 3) in, (N, D) or (N, D, 1, 1) out.

    Raises:
        BadModel: it is not such a network.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._strange = (
            f"{file} does not take aligned faces as floats and return vectors: give another"
        )
        try:
            self.content = contents(file)
            said = metadata(self.content)
            (self._graph,) = (part for key, part in fields(self.content) if key == 7)
            (self._entry, kind, sides), *_ = self._values(11)
            outputs = self._values(12)
            self._exit = max(outputs, key=lambda one: math.prod(one[2][1:]))[0]
            self._last = sides[3:] == [3]  # channels last
            height, width = sides[1:3] if self._last else sides[2:]
        except OSError as error:
            raise BadModel(f"{file} cannot be read ({error.strerror}): give another") from error
        except (ValueError, KeyError, IndexError) as error:
            raise BadModel(self._strange) from error
        self.form = told(said)  # as the file's metadata states it, if at all
        if "mien" in said:
            raise BadModel(f"{file} is a mien model already: try --model")
        if len(outputs) >= _DETECTS:
            raise BadModel(
                f"{file} has {len(outputs)} outputs, as detectors: try --detector {file}"
            )
        if kind != graph.FLOAT or sides[1 if not self._last else 3] not in (0, 3):
            raise BadModel(self._strange)
        self._size = height or SIZE, width or SIZE

    def _values(self, kind: int) -> list[tuple[str, int, list[int]]]:
        """Name, type and shape of the graph's inputs or outputs; 0 for a dynamic dimension."""
        weights = {dict(fields(part)).get(8) for key, part in fields(self._graph) if key == 5}
        found = []
        for key, part in fields(self._graph):
            value = dict(fields(part)) if key == kind else {}
            if value and value[1] not in weights:
                tensor = dict(fields(dict(fields(value[2]))[1]))
                sizes = [dict(fields(dim)) for _, dim in fields(tensor.get(2, b""))]
                shape = [number(size.get(1, b"\0")) for size in sizes]
                found.append((value[1].decode(), number(tensor[1]), shape))
        return found

    def network(self, form: InputForm, subtract: Subtraction | None = None) -> tuple[bytes, int]:
        """An ONNX file from crops to unit vectors, and the batch size it takes.

        Raises:
            BadModel: it does not run.
        """
        crops = crops_to_compare()
        for batch in (BATCH, 1):
            content = self._surrounded(form, subtract, batch)
            run = load_network(content, runtime="onnxruntime", threads=1, otherwise=self._strange)
            try:
                alone = np.concatenate([run(one[None]) for one in crops])
                together = run(crops) if batch > 1 else alone
            except runtime_errors(ValueError) as error:
                if batch > 1:
                    continue
                raise BadModel(self._strange) from error
            if together.shape == alone.shape and np.abs(together - alone).max() < TOLERANCE:
                return content, batch
        raise BadModel(self._strange)

    def _surrounded(self, form: InputForm, subtract: Subtraction | None, batch: int) -> bytes:
        before, after = _Row("crops", "mien.in"), _Row(self._exit, "mien.out")
        self._scale(before, form)
        _finish(after, subtract)
        inner = list(whole_fields(self._graph))
        free = "N" if batch > 1 else 1
        parts = [
            before.nodes(self._entry),
            *(whole for key, _, whole in inner if key == 1),
            after.nodes("embeddings"),
            *(whole for key, _, whole in inner if key not in (1, 11, 12, 13)),
            *(
                field(5, graph.initializer(*one))
                for row in (before, after)
                for one in row.constants
            ),
            field(11, graph.value_info("crops", graph.UINT8, free, SIZE, SIZE, 3)),
            field(12, graph.value_info("embeddings", graph.FLOAT, free, "D")),
        ]
        kept = b"".join(
            whole for key, _, whole in whole_fields(self.content) if key not in (1, 7, 14)
        )
        version = max(_OLDEST, *(number(one) for key, one in fields(self.content) if key == 1))
        return field(1, version) + kept + field(7, b"".join(parts))

    def _scale(self, row: _Row, form: InputForm) -> None:
        """Preprocessing: from uint8 crops to the network's input."""
        row.then("Cast", to=graph.FLOAT)
        row.then("Sub", np.array(form.mean, np.float32))
        row.then("Div", np.array(form.deviation, np.float32))
        if form.bgr:
            row.then("Gather", np.array([2, 1, 0]), axis=3)
        resized = self._size != (SIZE, SIZE)
        if resized or not self._last:
            row.then("Transpose", perm=[0, 3, 1, 2])
        if resized:  # separable, so it is two matrix products
            rows, columns = (_resizing(side) for side in self._size)
            row.then("MatMul", rows, second=True)
            row.then("MatMul", np.ascontiguousarray(columns.T))
            if self._last:
                row.then("Transpose", perm=[0, 2, 3, 1])


class _Row:
    """A chain of operations, each taking the previous one's output.

    Args:
        first: name of the first operation's input.
        prefix: of the names of intermediate values.
    """

    def __init__(self, first: str, prefix: str) -> None:
        self.at, self._prefix = first, prefix
        self._nodes: list[bytes] = []
        self.constants: list[tuple[str, NDArray[Any]]] = []

    def then(
        self,
        operation: str,
        *others: NDArray[Any] | str,
        second: bool = False,
        **attributes: int | list[int],
    ) -> None:
        """Append an operation, with further inputs; `second` puts the chain's value after them."""
        names = []
        for other in others:
            if not isinstance(other, str):
                self.constants.append((f"{self._prefix}.c{len(self.constants)}", other))
                other = self.constants[-1][0]
            names.append(other)
        taken = [*names, self.at] if second else [self.at, *names]
        self.at = f"{self._prefix}.{len(self._nodes)}"
        self._nodes.append(graph.node(operation, taken, [self.at], **attributes))

    def nodes(self, last: str) -> bytes:
        """The chain as fields of a graph, its output under this name."""
        whole = [*self._nodes, graph.node("Identity", [self.at], [last])]
        return b"".join(field(1, one) for one in whole)


def _finish(row: _Row, subtract: Subtraction | None) -> None:
    """Postprocessing: normalises a network's vectors."""
    row.then("Flatten", axis=1)
    row.then("LpNormalization", axis=1, p=2)
    if subtract:
        plain = row.at
        row.then("MatMul", subtract.weight)
        row.then("Add", subtract.bias)
        row.then("Softmax", axis=1)
        row.then("MatMul", subtract.means)
        row.then("Sub", plain, second=True)
        row.then("LpNormalization", axis=1, p=2)


def _resizing(side: int) -> NDArray[np.float32]:
    """(side, 112) weights of linear interpolation."""
    return cast(
        "NDArray[np.float32]",
        cv2.resize(np.eye(SIZE, dtype=np.float32), (SIZE, side), interpolation=cv2.INTER_LINEAR),
    )


def adopt(
    recogniser: Recogniser, out: Path, *, form: str, name: str, subtract: Subtraction | None = None
) -> Card:
    """Writes a model file around another project's network, and returns its card.

    Args:
        recogniser: the network.
        out: where to write; ends with .onnx.
        form: how the network expects its pixels; see `input_form`.
        name: the model's name, the first part of its identity.
        subtract: what to subtract from its vectors.

    Raises:
        BadInput: there is no such form.
        BadModel: the network does not run.
        CannotWrite: the disk is full, read-only or forbidden.
    """
    network, batch = recogniser.network(input_form(form), subtract)
    digest = hashlib.sha256(network).hexdigest()
    run = load_network(network, runtime="onnxruntime", threads=1, otherwise=f"{out} would not run")
    trained = {"network": recogniser.file.name, "form": form}
    card = make_card(name, digest, run(canary_crop())[0], trained, batch)
    write_atomically(out, with_card(network, card))
    return card
