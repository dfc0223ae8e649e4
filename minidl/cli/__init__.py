"""The command line ``minidl``: one module per command, each with ``register(app)``; see `minidl.cli._app`."""
