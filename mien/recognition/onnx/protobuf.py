"""As much of protobuf as reading and writing ONNX files takes.

A message is a run of fields, each with a number and a type; a field of bytes may be a message
again.  The package `onnx` does this and more, but is large and needed for training only.
"""

from __future__ import annotations

from collections.abc import Iterator

_NUMBER, _BYTES = 0, 2  # types of fields
_METADATA = 14  # metadata_props of ModelProto


def field(number: int, content: bytes | str | int) -> bytes:
    """A field, of a number or of bytes."""
    if isinstance(content, int):
        return _varint(number << 3 | _NUMBER) + _varint(content)
    data = content.encode() if isinstance(content, str) else content
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Each field's number and content; that of a number is its varint, see `number`.

    Raises:
        ValueError: the bytes are no message.
    """
    for key, content, _ in whole_fields(message):
        yield key, content


def whole_fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Each field's number, its content, and the bytes that `field` would make of both.

    Raises:
        ValueError: the bytes are no message.
    """
    at = 0
    while at < len(message):
        first = at
        key, at = _read_varint(message, at)
        start = at
        match key & 7:
            case 0:
                _, at = _read_varint(message, at)
            case 1:
                at += 8
            case 2:
                length, start = _read_varint(message, at)
                at = start + length
            case 5:
                at += 4
            case other:
                raise ValueError(f"no protobuf: a field of type {other}")
        if at > len(message):
            raise ValueError("no protobuf: a field reaches over the end")
        yield key >> 3, message[start:at], message[first:at]


def number(content: bytes) -> int:
    """The number that a field holds.

    Raises:
        ValueError: it holds none.
    """
    return _read_varint(content, 0)[0]


def metadata(model: bytes) -> dict[str, str]:
    """The metadata of an ONNX file.

    Raises:
        ValueError: the bytes are no message, or not text.
    """
    entries = [dict(fields(entry)) for key, entry in fields(model) if key == _METADATA]
    return {entry.get(1, b"").decode(): entry.get(2, b"").decode() for entry in entries}


def with_metadata(model: bytes, **said: str) -> bytes:
    """An ONNX file with this metadata in place of its own."""
    kept = b"".join(whole for key, _, whole in whole_fields(model) if key != _METADATA)
    entries = (field(1, name) + field(2, value) for name, value in said.items())
    return kept + b"".join(field(_METADATA, entry) for entry in entries)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have the eighth set."""
    low = b""
    while value > 127:
        low, value = low + bytes([value & 127 | 128]), value >> 7
    return low + bytes([value])


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """A number, and where the next one begins."""
    value = shift = 0
    for byte in message[at : at + 10]:
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
    raise ValueError("no protobuf: a number has no end")
