"""An answer: it prints in a few lines, draws itself, and holds the object of the analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Result:
    """An answer: the object of the analysis in `found`, whose attributes are the result's own.

    >>> import dyn
    >>> found = dyn.fixed_points(lambda_s=1, lambda_d=0.5, weight_decay=0.01)
    >>> found.variant, type(found.found).__name__
    ('full', 'FixedPoints')
    """

    def __init__(self, found: Any, **facts: Any) -> None:
        self.found = found
        self._facts = facts

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "found":
            raise AttributeError(name)
        return getattr(self.found, name)

    def __dir__(self) -> list[str]:
        own = [name for name in object.__dir__(self) if not name.startswith("_")]
        return sorted({*own, *(name for name in dir(self.found) if not name.startswith("_"))})

    def __repr__(self) -> str:
        from face.summaries import listed, summary

        if isinstance(self.found, tuple) and not hasattr(self.found, "_fields"):
            return "\n".join(listed((summary(item).splitlines()[0] for item in self.found), "of them"))
        return self._facts["caption"] if "caption" in self._facts else summary(self.found)

    def report(self) -> dict[str, Any]:
        """Return the result as a dictionary of plain numbers and words, as the command's --json prints it.

        >>> import dyn
        >>> dyn.fixed_points(lambda_s=1, lambda_d=0.5).report()["variant"]
        'full'
        """
        from analysis.runs.simulation import plain

        if type(self.found).__name__ == "TrainingRun":
            from analysis.runs.training_report import report_of

            return report_of(self.found)
        if isinstance(self.found, tuple) and not hasattr(self.found, "_fields"):
            return {"results": [plain(item.report()) for item in self.found]}
        if not hasattr(self.found, "report"):
            raise ValueError(f"a result must have a report, got {type(self.found).__name__}, which has none")
        report: dict[str, Any] = plain(self.found.report())
        return report

    def plot(self, ax: Axes | None = None) -> Figure | Axes:
        """Draw the page of the result, or its main panel on axes that are given.

        Parameters
        ----------
        ax
            Axes of any figure; left out, a page is made.

        Returns
        -------
        Figure or Axes
            The page, or the axes that were given.

        Raises
        ------
        ValueError
            The result has no picture; or, on axes, it is a figure of the gallery, which is a page of its own.

        Examples
        --------
        >>> import dyn
        >>> len(dyn.fixed_points(lambda_s=1, lambda_d=0.5).plot().axes)
        1
        """
        from functools import partial

        from figures.results.drawers import page_of, panel_of, png_of

        of_gallery = "page" in self._facts
        if ax is not None:
            if of_gallery:
                raise ValueError("`ax` must be left out: a figure of the gallery is a page of its own")
            return panel_of(ax, self.found)
        page: Figure = self._facts["page"].draw(self.found) if of_gallery else page_of(self.found)
        vars(page)["_repr_png_"] = partial(
            png_of, page
        )  # pyplot, which would show it in a notebook, did not make it
        return page

    def to_xarray(self) -> xarray.Dataset:
        """Return the numbers as a Dataset with named axes, those of the command's --out.

        Raises
        ------
        ValueError
            The result holds no arrays.

        Examples
        --------
        >>> import dyn
        >>> sorted(dyn.simulate(lambda_s=1, lambda_d=0.5).to_xarray().variables)
        ['online', 'predictor', 't', 'target']
        """
        from analysis.runs.arrays import arrays_of
        from dynamics.files import dataset

        return dataset(arrays_of(self.found, self._facts.get("support")), {})

    def _repr_png_(self) -> bytes | None:
        from figures.results.drawers import drawer_of, png_of

        if "page" not in self._facts and drawer_of(self.found) is None:
            return None  # it has no picture, and is printed
        page: Any = self.plot()
        return png_of(page)
