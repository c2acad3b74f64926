"""The command ``dyn``: reads options, calls the library, prints tables for people and JSON for programs.

One module a command; nothing heavy is imported until the command that needs it runs.
"""

from cli.application import app

__all__ = ["app"]
