"""`python -m cli` is `dyn`."""

from cli import app

app()
