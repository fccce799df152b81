"""What is known of each network without building it: its size, and the accuracy of its paper.

Sizes are held against the networks by a test.  Accuracies are in percent, of networks of 512
numbers trained on MS1MV2 unless the source says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SEESAW = "arXiv 1908.09124, table 4"
SEESAW_DW = "arXiv 1908.09124, table 5"

# LFW, View 2, in percent: of the models that ship, as their cards in docs/models have it.
OURS = {"mien-small": 98.13, "mien-tiny": 95.78}


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in `mien.training.backbones.BACKBONES`."""

    parameters: int  # at 128 numbers
    parameters_512: int  # at 512
    macs: int  # multiply-adds for a crop, at 128
    published: dict[str, float] = field(default_factory=dict)  # by set: lfw, cfp_fp, agedb_30, ...
    source: str | None = None  # of what was published


def _results(*values: float) -> dict[str, float]:
    """By the order in which the papers have them."""
    names = ("lfw", "cfp_fp", "agedb_30", "cplfw", "calfw")
    return dict(zip(names, values, strict=False))


NETWORKS = {
    "mobileface": Entry(
        1_003_136,
        1_200_512,
        220_965_376,
        _results(99.57, 91.81, 96.32),
        f"{SEESAW}, batch 256",
    ),
    "seesaw_share": Entry(
        1_172_800,
        1_370_176,
        145_566_208,
        _results(99.55, 93.09, 96.42),
        f"{SEESAW}, batch 160",
    ),
    "seesaw_shuffle": Entry(
        1_172_800,
        1_370_176,
        145_566_208,
        _results(99.70, 92.03, 96.30),
        f"{SEESAW}, batch 160",
    ),
    "seesaw_shuffle_mobi": Entry(
        2_608_128,
        2_805_504,
        152_586_752,
        _results(99.65, 93.07, 96.48),
        f"{SEESAW}, batch 224; the network here is a guess",
    ),
    "seesaw_fast": Entry(700_672, 898_048, 145_099_264),
    "seesaw_dense": Entry(1_294_688, 1_492_064, 218_506_752),
    "seesaw_tiny": Entry(507_360, 704_736, 66_115_968),
    "seesaw_dw_v1": Entry(
        4_049_568,
        4_246_944,
        526_281_984,
        _results(99.80, 97.07, 97.38, 91.57, 95.88),
        SEESAW_DW,
    ),
    "seesaw_dw_v2": Entry(
        4_049_568,
        4_246_944,
        526_281_984,
        _results(99.80, 97.24, 97.55, 91.98, 95.98),
        SEESAW_DW,
    ),
    "slim_seesaw": Entry(1_233_856, 1_431_232, 332_714_496),
    "slim_seesaw_28": Entry(1_179_520, 1_376_896, 144_629_760),
    "slim_seesaw_stage": Entry(1_117_568, 1_314_944, 129_401_856),
    "slim_seesaw_7": Entry(1_052_096, 1_249_472, 139_931_456),
    "ir_50": Entry(33_940_032, 43_574_976, 6_286_852_096),
    "ir_100": Entry(
        55_494_848,
        65_129_792,
        12_067_127_296,
        _results(99.83, 98.37, 98.15, 92.08, 95.45),
        f"ArcFace R100 in {SEESAW_DW}",
    ),
    "ir_152": Entry(61_102_656, 70_737_600, 12_298_338_304),
    "ir_se_50": Entry(
        34_162_752,
        43_797_696,
        6_287_074_816,
        _results(99.52, 95.04, 96.22, 91.07, 95.57),
        "github TreB1eN/InsightFace_Pytorch",
    ),
    "ir_se_100": Entry(55_867_072, 65_502_016, 12_067_499_520),
    "ir_se_152": Entry(61_513_792, 71_148_736, 12_298_749_440),
}
