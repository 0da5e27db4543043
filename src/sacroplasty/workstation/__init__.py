"""The local workstation: a thin server over case folders, and the browser page it serves.

`app` makes the ASGI application, `serve` runs it on this machine alone. Results are read from the case folder as they
stand there; whatever takes long runs in worker processes whose state is on disk.
"""
