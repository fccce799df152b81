"""PReLU said in operations that ONNX Runtime is quick at, within a network's bytes.

Its own PRelu takes about half of the time of MTCNN's networks.  `slope * x + (1 - slope) * relu(x)`
is the same function.  The package `onnx` would edit the file, but is large and needed for training
only; what is needed of its format (protobuf: runs of fields, each with a number, some of them runs
of fields again) is a few lines.
"""

from __future__ import annotations

from collections.abc import Iterator

GRAPH, NODE = 7, 1  # fields of ModelProto and of GraphProto
INPUT, OUTPUT, OPERATOR, ATTRIBUTE = 1, 2, 4, 5  # fields of NodeProto
ONE = b"\x0a\x0bvalue_float\x15\x00\x00\x80\x3f\xa0\x01\x01"  # AttributeProto: a float of 1
BYTES = 2  # a field's type: a length, and so many bytes


def without_prelu(model: bytes) -> bytes:
    """An ONNX file's bytes with other operations for each PRelu.

    Raises:
        ValueError: it is no such file.
    """
    return b"".join(
        _field(GRAPH, b"".join(_nodes(content))) if number == GRAPH else whole
        for number, content, whole in _fields(model)
    )


def _nodes(graph: bytes) -> Iterator[bytes]:
    """A graph's fields, its PRelu nodes replaced."""
    for number, content, whole in _fields(graph):
        node = list(_fields(content)) if number == NODE else []
        if (OPERATOR, b"PRelu") not in [(field, value) for field, value, _ in node]:
            yield whole
            continue
        x, slope = (value for field, value, _ in node if field == INPUT)
        (y,) = (value for field, value, _ in node if field == OUTPUT)
        one, rest, above, part, whole = (
            y + end for end in (b".1", b".1-a", b".relu", b".relu(1-a)", b".a")
        )
        yield _node(b"Constant", (), one, _field(ATTRIBUTE, ONE))
        yield _node(b"Sub", (one, slope), rest)  # computed once, when the network is loaded
        yield _node(b"Relu", (x,), above)
        yield _node(b"Mul", (above, rest), part)
        yield _node(b"Mul", (x, slope), whole)
        yield _node(b"Add", (whole, part), y)


def _node(operator: bytes, inputs: tuple[bytes, ...], output: bytes, more: bytes = b"") -> bytes:
    fields = [*((INPUT, name) for name in inputs), (OUTPUT, output), (OPERATOR, operator)]
    return _field(NODE, b"".join(_field(*field) for field in fields) + more)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have the eighth set."""
    low = b""
    while value > 127:
        low, value = low + bytes([value & 127 | 128]), value >> 7
    return low + bytes([value])


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Each field's number, its content where that is bytes, and the whole field."""
    at = 0
    while at < len(message):
        start = at
        key, at = _read_varint(message, at)
        content = b""
        if key & 7 == 0:
            _, at = _read_varint(message, at)
        elif key & 7 == BYTES:
            length, at = _read_varint(message, at)
            content = message[at : at + length]
            at += length
        elif key & 7 in (1, 5):
            at += 8 if key & 7 == 1 else 4
        else:
            raise ValueError(f"no protobuf: a field of type {key & 7}")
        if at > len(message):
            raise ValueError("no protobuf: a field reaches over the end")
        yield key >> 3, content, message[start:at]


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """A number, and where the next one begins."""
    value = shift = 0
    for byte in message[at : at + 10]:
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
    raise ValueError("no protobuf: a number has no end")
