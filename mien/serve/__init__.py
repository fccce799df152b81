"""The verbs over HTTP, and a page for people; all that is decided is decided below this package.

    server      the socket and its connections
    middleware  what a request must be before anybody looks at it
    routes/     requests apart, answers together
    service     the facebank, and who may use what for how long
    workers     the processes that run `jobs` on photos

Nothing is imported here: the workers need no web framework.
"""
