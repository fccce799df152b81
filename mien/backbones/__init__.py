"""Networks from a crop to an embedding.  A new one is a file here and a line in the table."""

from mien.backbones.seesaw import seesaw_share, seesaw_shuffle

BACKBONES = {build.__name__: build for build in (seesaw_share, seesaw_shuffle)}
