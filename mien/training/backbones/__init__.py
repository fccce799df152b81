"""Networks from a crop to an embedding.  A new one is a file here and a line in the table.

A package that is installed beside mien adds its own by an entry point of the group `mien.networks`.
"""

from collections.abc import Callable

from mien.training.backbones.ir import IR, ir_50, ir_100, ir_152, ir_se_50, ir_se_100, ir_se_152
from mien.training.backbones.mobileface import MobileFaceNet, mobileface
from mien.training.backbones.seesaw import (
    SeesawFaceNet,
    seesaw_dense,
    seesaw_dw_v1,
    seesaw_dw_v2,
    seesaw_fast,
    seesaw_share,
    seesaw_shuffle,
    seesaw_shuffle_mobi,
)
from mien.training.backbones.slim import (
    slim_seesaw,
    slim_seesaw_7,
    slim_seesaw_28,
    slim_seesaw_stage,
)
from mien.training.backbones.tiny import TinyFaceNet, seesaw_tiny
from mien.training.plugins import Table

Network = IR | MobileFaceNet | SeesawFaceNet | TinyFaceNet

_KNOWN: dict[str, Callable[..., Network]] = {
    build.__name__: build
    for build in (
        mobileface,
        seesaw_share,
        seesaw_shuffle,
        seesaw_shuffle_mobi,
        seesaw_fast,
        seesaw_dense,
        seesaw_tiny,
        seesaw_dw_v1,
        seesaw_dw_v2,
        slim_seesaw,
        slim_seesaw_28,
        slim_seesaw_7,
        slim_seesaw_stage,
        ir_50,
        ir_100,
        ir_152,
        ir_se_50,
        ir_se_100,
        ir_se_152,
    )
}
BACKBONES: Table[Callable[..., Network]] = Table("network", "mien.networks", _KNOWN)
