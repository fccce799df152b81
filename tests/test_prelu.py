"""A network without PRelu computes what it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.detect.mtcnn import _installed
from mien.detect.prelu import without_prelu
from mien.runtime import session


def outputs(network: bytes, pixels: np.ndarray[Any, np.dtype[np.float32]]) -> list[Any]:
    loaded = session(network, threads=1, otherwise="not a network")
    found: list[Any] = loaded.run(None, {loaded.get_inputs()[0].name: pixels})
    return found


@pytest.mark.parametrize(("name", "side"), [("pnet", 40), ("rnet", 24), ("onet", 48)])
def test_the_function_stays(name: str, side: int) -> None:
    before = Path(_installed() / f"{name}.onnx").read_bytes()
    after = without_prelu(before)
    assert b"PRelu" in before
    assert b"PRelu" not in after
    pixels = np.random.default_rng(0).standard_normal((2, side, side, 3), np.float32)
    for old, new in zip(outputs(before, pixels), outputs(after, pixels), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-5)


def test_a_network_without_any_stays_as_it_is(model_file: Path) -> None:
    assert without_prelu(model_file.read_bytes()) == model_file.read_bytes()


@given(st.binary(max_size=60))
def test_any_bytes_give_bytes_or_one_error(content: bytes) -> None:
    try:
        without_prelu(content)
    except ValueError as error:
        assert "protobuf" in str(error)
