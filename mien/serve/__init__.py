"""The verbs over HTTP, and a page for people; all that is decided is decided below this package."""

from mien.serve.app import make_app
from mien.serve.desk import Desk
from mien.serve.guard import Limits
from mien.serve.listen import bind, is_loopback, server
from mien.serve.meter import Meter

__all__ = ["Desk", "Limits", "Meter", "bind", "is_loopback", "make_app", "server"]
