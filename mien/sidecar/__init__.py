"""Names and places of faces where photo programs keep them.

`xmp` finds and reads XMP, `picasa` its .picasa.ini, `reader` all that is known of one photo, and
`writer` leaves names in a sidecar without touching what others have written.
"""

from mien.sidecar.reader import Held, read
from mien.sidecar.writer import path_of, write
from mien.sidecar.xmp import Region

__all__ = ["Held", "Region", "path_of", "read", "write"]
