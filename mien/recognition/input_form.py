"""A network's input form: range, mean and channel order of its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.errors import BadInput
from mien.types import Crops


@dataclass(frozen=True, slots=True)
class InputForm:
    """The preprocessing of a crop: (value - mean) / deviation, of values from 0 to 255."""

    mean: tuple[float, ...]  # of red, green and blue
    deviation: tuple[float, ...]
    bgr: bool = False  # whether blue comes first

    def __call__(self, crops: Crops) -> NDArray[np.float32]:
        """(N, 112, 112, 3) uint8 RGB -> (N, 3, 112, 112)."""
        x = (crops - np.array(self.mean, np.float32)) / np.array(self.deviation, np.float32)
        return np.ascontiguousarray((x[..., ::-1] if self.bgr else x).transpose(0, 3, 1, 2))


FORMS = {
    "half": InputForm((127.5,) * 3, (127.5,) * 3),  # -1 to 1, the most common
    "bgr": InputForm((127.0,) * 3, (128.0,) * 3, bgr=True),  # nearly the same
    "unit": InputForm((0.0,) * 3, (255.0,) * 3),
    "unit-bgr": InputForm((0.0,) * 3, (255.0,) * 3, bgr=True),
    "bytes": InputForm((0.0,) * 3, (1.0,) * 3),
    "bytes-bgr": InputForm((0.0,) * 3, (1.0,) * 3, bgr=True),
    "imagenet": InputForm((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "imagenet-bgr": InputForm((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), bgr=True),
}
_BGR = "-bgr"


def input_form(text: str) -> InputForm:
    """The form with a name in `FORMS`, or given by numbers, MEAN/DEVIATION, as in 127/128-bgr.

    Each is one number, or three for red, green and blue, separated by commas.

    Raises:
        BadInput: it is neither.
    """
    if text in FORMS:
        return FORMS[text]
    try:
        mean, deviation = (_colours(part) for part in text.removesuffix(_BGR).split("/"))
        if 0 in deviation:
            raise ValueError(text)
    except ValueError as error:
        raise BadInput(
            f"there is no input form {text!r}: use one of {', '.join(FORMS)}, or MEAN/DEVIATION "
            "such as 127/128-bgr"
        ) from error
    return InputForm(mean, deviation, bgr=text.endswith(_BGR))


def _colours(text: str) -> tuple[float, ...]:
    values = tuple(float(one) for one in text.split(","))
    if len(values) not in (1, 3) or not np.isfinite(values).all():
        raise ValueError(text)
    return values * (3 // len(values))


def told(metadata: Mapping[str, str]) -> str | None:
    """The name of the form that an ONNX file's standard metadata states."""
    return _TOLD.get((metadata.get("Image.NominalPixelRange"), metadata.get(_ORDER)))


_ORDER = "Image.BitmapPixelFormat"
_TOLD: dict[tuple[str | None, str | None], str] = {
    ("Normalized_1_1", "Rgb8"): "half",
    ("Normalized_1_1", "Bgr8"): "bgr",
    ("Normalized_0_1", "Rgb8"): "unit",
    ("Normalized_0_1", "Bgr8"): "unit-bgr",
    ("NominalRange_0_255", "Rgb8"): "bytes",
    ("NominalRange_0_255", "Bgr8"): "bytes-bgr",
}
