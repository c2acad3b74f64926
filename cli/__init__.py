"""The command ``dyn``: reads options, calls the library, prints tables for people and JSON for programs.

One module a command; nothing heavy is imported until the command that needs it runs.
"""

import sys

try:
    from cli.application import app
except KeyboardInterrupt:
    sys.stderr.write("dyn: interrupted\n")
    sys.exit(130)

__all__ = ["app"]
