"""What a network is trained to make small.  A new margin is a file here and a line in the table."""

from collections.abc import Callable

from torch import Tensor

from mien.training.losses.adaface import adaface
from mien.training.losses.arcface import arcface
from mien.training.losses.cosface import cosface
from mien.training.losses.liarcface import liarcface
from mien.training.losses.softmax import softmax

LOSSES: dict[str, Callable[..., Tensor]] = {
    loss.__name__: loss for loss in (softmax, cosface, arcface, liarcface, adaface)
}
