"""The verbs over HTTP, and a page for people; all that is decided is decided below this package.

`app` has the routes, `desk` the work, and `listen` the socket.  Nothing is imported here: the
processes that look at photos need no web framework.
"""
