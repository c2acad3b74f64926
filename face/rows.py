"""Rows of the tables of variants and objectives, as attributes and as items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any


class Rows:
    """Rows of a table by name, as attributes and as items; the table is loaded when a row is asked for."""

    def __init__(self, name: str, module: str, table: str) -> None:
        self._name, self._module, self._table = name, module, table

    def _rows(self) -> Mapping[str, Any]:
        rows: Mapping[str, Any] = getattr(import_module(self._module), self._table)
        return rows

    def __getitem__(self, name: str) -> Any:
        rows = self._rows()
        if name not in rows:
            raise KeyError(f"dyn.{self._name} has {', '.join(rows)}, got {name!r}")
        return rows[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name.replace("_", "-")]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows())

    def __len__(self) -> int:
        return len(self._rows())

    def __dir__(self) -> list[str]:
        return [name.replace("-", "_") for name in self]

    def __repr__(self) -> str:
        return f"dyn.{self._name}: {', '.join(self)}"

    def checked(self, name: str, row: Any, default: str) -> Any:
        """Return a row, the default for None."""
        rows = self._rows()
        if row is None:
            return rows[default]
        if not any(row is known for known in rows.values()):
            example = row if isinstance(row, str) and row in rows else default
            raise ValueError(
                f"`{name}` must be a row of dyn.{self._name}, such as dyn.{self._name}[{example!r}], got {row!r}"
            )
        return row
