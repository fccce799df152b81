"""The two networks: one that finds faces, and one that looks at each again."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDES = (8, 16)  # pixels between the places of the finder's two grids
SIDE = 64  # pixels of a crop that the second network sees
MOMENTUM = 0.03


class Dense(nn.Module):
    """A convolution, batch norm and ReLU."""

    def __init__(self, before: int, after: int, side: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, side, stride, side // 2, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(after, momentum=MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) to (N, after, H / stride, W / stride)."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Separable(nn.Module):
    """A convolution of each channel by itself, then of all in a place; a shortcut if it fits.

    Batch norm stands once: two of them cost a quarter of the training's time and gained nothing.
    """

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.dw = nn.Conv2d(before, before, 3, stride, 1, groups=before)
        self.pw = nn.Conv2d(before, after, 1, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(after, momentum=MOMENTUM)
        self.same = before == after and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) to (N, after, H / stride, W / stride)."""
        y: Tensor = self.bn(self.pw(self.dw(x)))
        return F.relu(x + y if self.same else y, inplace=True)


def _scaled(pixels: Tensor) -> Tensor:
    return (pixels - 127.5) / 64


class Finder(nn.Module):
    """Finds faces of 9 to 72 pixels: two grids of a confidence, a box and five points."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(Dense(3, 16, 3, 2), Dense(16, 32, 3, 2))
        self.s4 = Separable(32, 32)
        self.s8 = nn.Sequential(Dense(32, 64, 3, 2), Separable(64, 64), Separable(64, 64))
        self.s16 = nn.Sequential(Separable(64, 96, 2), *(Separable(96, 96) for _ in range(3)))
        self.lat = nn.Conv2d(96, 64, 1)
        self.out8, self.out16 = Separable(64, 64), Separable(96, 64)
        self.h8, self.h16 = Separable(64, 64), Separable(64, 64)
        self.p8, self.p16 = nn.Conv2d(64, 15, 1), nn.Conv2d(64, 15, 1)
        for last in (self.p8, self.p16):
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(cast("Tensor", last.bias))
            cast("Tensor", last.bias).data[0] = -4  # at first, there is a face nowhere

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) of 0 to 255 to (N, 15, H / 8, W / 8) and (N, 15, H / 16, W / 16)."""
        near = self.s8(self.s4(self.stem(_scaled(pixels))))
        far = self.s16(near)
        wide = F.interpolate(self.lat(far), scale_factor=2.0, mode="nearest")
        near = self.out8(near + wide)
        return self.p8(self.h8(near)), self.p16(self.h16(self.out16(far)))


class Points(nn.Module):
    """Where the points of a face are in its crop, and whether it is an upright face."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Dense(3, 24, 3, 2),
            Dense(24, 48, 3, 2),
            Separable(48, 48),
            Separable(48, 96, 2),
            *(Separable(96, 96) for _ in range(3)),
            Dense(96, 32, 1, 1),
        )
        self.points, self.face = nn.Linear(64 * 32, 10), nn.Linear(64 * 32, 1)
        nn.init.normal_(self.points.weight, std=0.002)
        nn.init.zeros_(self.points.bias)

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, 64, 64) of 0 to 255 to (N, 11): points' shifts in 8 pixels, and a logit."""
        seen = self.body(_scaled(pixels)).flatten(1)
        return torch.cat([self.points(seen), self.face(seen)], 1)
