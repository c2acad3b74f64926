"""The command ``dyn``: reads options, calls the library, prints tables for people and JSON for programs.

One module a command; nothing heavy is imported until the command that needs it runs. They are listed by
``dyn --help`` in the order in which they are imported here.
"""

# isort: off
from cli.application import app

from cli import simulate as simulate
from cli import fixed_points as fixed_points
from cli import stability as stability
from cli import basins as basins
from cli import bifurcation as bifurcation
from cli import sweep as sweep
from cli import sylvester as sylvester
from cli import align as align
from cli import train as train
from cli import check as check
from cli import confirm as confirm
from cli import figure as figure
from cli import info as info

__all__ = ["app"]
