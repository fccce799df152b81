"""MTCNN's networks as they are run say what they say as they are published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.recognition.detect.cascade import SHAPES, _arrays, rebuilt
from mien.recognition.detect.mtcnn import FILES, _installed
from mien.recognition.onnx.protobuf import field
from mien.recognition.onnx.session import session
from mien.types import Image

SIDES = {"propose": (40, 51), "refine": (24, 24), "confirm": (48, 48)}


def published(name: str) -> bytes:
    return Path(_installed() / FILES[name]).read_bytes()


def outputs(network: bytes, pixels: np.ndarray[Any, Any]) -> list[Any]:
    loaded = session(network, threads=1, otherwise="not a network")
    found: list[Any] = loaded.run(None, {loaded.get_inputs()[0].name: pixels})
    return found


def pictures(name: str) -> list[Image]:
    rows, columns = SIDES[name]
    noise = np.random.default_rng(0).integers(0, 256, (20, rows, columns, 3), np.uint8)
    flat = np.repeat(np.array([0, 255], np.uint8), rows * columns * 3)
    return [noise, flat.reshape(2, rows, columns, 3), noise // 8 + 100]


@pytest.mark.parametrize("name", SHAPES)
def test_the_function_stays(name: str) -> None:
    before = published(name)
    after = rebuilt(before, SHAPES[name])
    assert b"PRelu" in before
    assert b"PRelu" not in after
    for pixels in pictures(name):
        *numbers, classes = outputs(before, (pixels - np.float32(127.5)) / np.float32(128))
        *others, confidence = outputs(after, pixels)
        for old, new in zip([*numbers, classes[..., 1:]], [*others, confidence], strict=True):
            assert old.shape == new.shape
            np.testing.assert_allclose(new, old, atol=1e-5)


@pytest.mark.parametrize("name", SHAPES)
def test_another_network_is_refused(name: str, model_file: Path) -> None:
    for content in (model_file.read_bytes(), *map(published, SHAPES.keys() - {name})):
        with pytest.raises(ValueError, match="no network of MTCNN"):
            rebuilt(content, SHAPES[name])


def test_a_slope_over_1_is_refused_where_it_cannot_be_said() -> None:
    content = published("refine")
    slopes = list(_arrays(content))[5]  # of the second layer: kernel, bias, slopes, twice
    steep = np.full_like(slopes, 1.5).tobytes()
    assert content.count(slopes.tobytes()) == 1
    with pytest.raises(ValueError, match=r"a slope of 1\.5"):
        rebuilt(content.replace(slopes.tobytes(), steep), SHAPES["refine"])


@settings(deadline=None)
@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_give_one_error(content: bytes, inside: bool) -> None:
    with pytest.raises(ValueError, match=r"protobuf|MTCNN|buffer"):
        rebuilt(field(7, field(5, content)) if inside else content, SHAPES["propose"])
