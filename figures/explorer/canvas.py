"""The drawings of the explorer: three figures whose sources are filled from a scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.fixed_points.diagrams import Bifurcation
from analysis.phase_planes.portraits import Portrait
from analysis.phase_planes.separatrices import Separatrix
from figures.explorer.marks import (
    SYMBOLS,
    arrows_of,
    axis_text,
    dress,
    fit,
    hex_of,
    joined,
    picture_of,
    polylines,
)
from figures.explorer.runs import drift_told, told
from figures.explorer.scene import Frame, Lattice, notes_of, parameter_value, plane_of, shares
from figures.explorer.state import View
from figures.panels.basins import fate_tint
from figures.panels.bifurcation import happening
from figures.panels.stability import runs
from figures.style import THEMES, look

if TYPE_CHECKING:
    from bokeh.models import ColumnDataSource
    from bokeh.plotting import figure as Plot

LETTERS = {
    "lambda_s": "λs",
    "lambda_d": "λd",
    "tau_online": "τo",
    "tau_predictor": "τp",
    "tau_target": "τt",
    "weight_decay": "η",
    "invariant": "c",
    "step": "ε",
    "online": "w1",
    "predictor": "w2",
    "target": "θ",
    "alpha": "α",
    "beta": "β",
}
"""The numbers of a view as text."""

SIDE, WIDE, LOW = 400, 380, 190
"""Side of the plane, width of the two figures beside it and the height of each, in pixels."""

_MARKS = {
    "stable": "circle",
    "half-stable": "circle_dot",
    "saddle": "x",
    "unstable": "circle",
    "degenerate": "diamond",
}
_SHADES = (
    ("learned", False, "start learned, w1 > 0"),
    ("learned", True, "w1 < 0"),
    ("collapsed", False, "start collapsed"),
    ("undecided", False, "undecided"),
)
_ALONG = {"attracting": "stable", "repelling": "unstable"}
_DASHES = {"stable": "solid", "saddle": "dashed"}
_ARROW = 0.7  # of the distance between arrows


class Canvas:
    """Figures and texts of a page, empty until something is drawn.

    Parameters
    ----------
    theme
        A name in `figures.style.THEMES`.
    """

    def __init__(self, theme: str) -> None:
        from bokeh.models import Div

        self.theme_name = theme
        self.theme = THEMES[theme]
        ink = {"color": self.theme.ink, "font-size": "13px", "line-height": "1.35"}
        self.fate = Div(name="fate", width=SIDE + 55, styles={**ink, "font-weight": "bold"})
        self.notes = Div(name="notes", width=SIDE + 55, styles=ink)
        self.legend = Div(name="legend", width=SIDE + 55, styles=ink)
        self.drift = Div(name="drift", width=WIDE + 45, styles=ink)
        self.about = Div(name="about", width=WIDE + 45, styles=ink)
        self._sources: dict[str, ColumnDataSource] = {}
        self._kinds: tuple[str, ...] = ()
        self.plane = self._plane()
        self.diagram = self._diagram()
        self.course = self._course()

    # --- empty figures

    def _source(self, name: str, **columns: Any) -> ColumnDataSource:
        from bokeh.models import ColumnDataSource

        self._sources[name] = ColumnDataSource({column: [] for column in columns} or columns)
        return self._sources[name]

    def _figure(self, width: int, height: int, name: str, **options: Any) -> Plot:
        from bokeh.models import Range1d
        from bokeh.plotting import figure

        found = figure(
            x_range=Range1d(-1, 1),
            y_range=Range1d(-1, 1),
            frame_width=width,
            frame_height=height,
            tools="",
            toolbar_location=None,
            name=name,
            **options,
        )
        dress(found, self.theme)
        return found

    def _plane(self) -> Plot:
        from bokeh.models import HoverTool

        colours = self.theme
        plot = self._figure(SIDE, SIDE, "plane")
        plot.image_rgba(
            "image",
            x="x",
            y="y",
            dw="size",
            dh="size",
            source=self._source("basins", image=0, x=0, y=0, size=0),
        )
        lines = {
            "stable manifold": {"line_color": colours.faint, "line_width": 5},
            "leaf": {"line_color": colours.muted, "line_width": 1.2, "line_dash": "dotted"},
            "boundary": {"line_color": colours.ink, "line_width": 1.2, "line_dash": "dashed"},
            "flow": {"line_color": colours.muted, "line_width": 1},
        }
        for name, look_of in lines.items():
            plot.line("x", "y", source=self._source(name, x=0, y=0), **look_of)
        plot.multi_line(
            "xs",
            "ys",
            line_color="colour",
            line_width=2,
            source=self._source("nullclines", xs=0, ys=0, colour=0),
        )
        plot.line(
            *("x", "y"), line_color=colours.ink, line_width=1, line_dash="dashed",
            source=self._source("unstable manifold", x=0, y=0),
        )  # fmt: skip
        plot.multi_line(
            *("xs", "ys"),
            line_color="colour",
            line_width=2.5,
            line_dash="dash",
            source=self._source("lines", xs=0, ys=0, colour=0, dash=0),
        )
        plot.multi_line(
            "xs",
            "ys",
            line_color="colour",
            line_width=1.6,
            line_alpha=0.75,
            source=self._source("kept", xs=0, ys=0, colour=0),
        )
        plot.line(
            "x",
            "y",
            line_color=colours.ink,
            line_width=1.4,
            line_dash="dotdash",
            source=self._source("past", x=0, y=0),
        )
        plot.line("x", "y", line_color=colours.ink, line_width=2.6, source=self._source("path", x=0, y=0))
        points = plot.scatter(
            *("x", "y"), marker="marker", size="size", line_color="colour", fill_color="fill", line_width=2,
            source=self._source("points", x=0, y=0, marker=0, size=0, colour=0, fill=0, stability=0),
        )  # fmt: skip
        plot.scatter(
            "x",
            "y",
            marker="square",
            size=9,
            line_color=colours.paper,
            fill_color=colours.ink,
            source=self._source("start", x=0, y=0),
        )
        plot.add_tools(
            HoverTool(renderers=[points], tooltips=[("fixed point", "@stability"), ("at", "(@x, @y)")])
        )
        return plot

    def _diagram(self) -> Plot:
        from bokeh.models import Span

        colours = self.theme
        plot = self._figure(WIDE, LOW, "diagram")
        plot.multi_line(
            "xs",
            "ys",
            line_color="colour",
            line_width=2,
            line_dash="dash",
            source=self._source("branches", xs=0, ys=0, colour=0, dash=0),
        )
        plot.scatter(
            "x",
            "y",
            marker="diamond",
            size=11,
            line_color=colours.muted,
            fill_color=colours.paper,
            line_width=2,
            source=self._source("special", x=0, y=0),
        )
        self.now = Span(location=0.0, dimension="height", line_color=colours.weights["target"], line_width=2)
        plot.add_layout(self.now)
        return plot

    def _course(self) -> Plot:
        colours = self.theme
        plot = self._figure(WIDE, LOW, "course", x_axis_label="time t", y_axis_label="weights and c")
        source = self._source("course", t=0, online=0, predictor=0, target=0, invariant=0)
        for name, symbol in SYMBOLS.items():
            plot.line(
                "t", name, line_color=colours.weights[name], line_width=2, source=source, legend_label=symbol
            )
        plot.line(
            "t",
            "invariant",
            line_color=colours.ink,
            line_width=2,
            line_dash="dashed",
            source=source,
            legend_label="c",
        )
        (legend,) = plot.legend
        plot.add_layout(legend, "above")  # where no curve can be
        legend.orientation = "horizontal"
        legend.padding, legend.margin, legend.spacing = 0, 2, 12
        legend.label_text_font_size = "12px"
        legend.label_text_color, legend.background_fill_color = colours.ink, colours.paper
        legend.border_line_color = None
        return plot

    # --- what fills them

    def draw(self, frame: Frame) -> None:
        """All that a frame holds; what it does not hold is taken away."""
        view, portrait, run = frame.view, frame.portrait, frame.run
        window = (-view.extent, view.extent)
        fit(self.plane, window, window, margin=0.0)
        self.plane.xaxis.axis_label, self.plane.yaxis.axis_label = (axis_text(name) for name in portrait.axes)
        self.plane.title.text = portrait.name
        self._draw_portrait(portrait)
        for name, curves in frame.curves.items():
            self._put(name, **joined(curves))
        plane = plane_of(view)
        path, past = run.on(plane)
        self._put("path", x=path[:, 0], y=path[:, 1])
        self._put("past", x=past[:, 0], y=past[:, 1])
        self._put("start", x=path[:1, 0], y=path[:1, 1])
        kept = [(one.on(plane), self.theme.fates[one.report["fate"]]) for one in frame.kept]
        lines = [part for (future, before), _ in kept for part in (future, before)]
        self._put("kept", **polylines(lines), colour=[colour for _, colour in kept for _ in range(2)])
        self._put("course", t=run.t, **dict(zip(SYMBOLS, run.path.T, strict=True)), invariant=run.invariant)
        fit(self.course, run.t, np.concatenate([run.path.ravel(), run.invariant]))
        self.fate.text = told(run)
        self.drift.text = drift_told(run)
        self.notes.text = " ".join(notes_of(view))
        if frame.lattice is None:
            self._put("basins", image=[], x=[], y=[], size=[])
            self.plane.title.text += " · following starts"
        else:
            self.draw_basins(frame.lattice, view)
        self.draw_separatrices(portrait.separatrices)
        self._key(frame)

    def _draw_portrait(self, portrait: Portrait) -> None:
        colours = self.theme
        length = _ARROW * (portrait.u_range[1] - portrait.u_range[0]) / portrait.u.shape[0]
        self._put("flow", **joined(arrows_of(portrait, length)))
        branches = [(branch, one.of) for one in portrait.nullclines for branch in one.branches]
        self._put(
            "nullclines",
            **polylines([branch for branch, _ in branches]),
            colour=[colours.weights[of] for _, of in branches],
        )
        kinds = [_ALONG.get(line.stability, line.stability) for line in portrait.lines]
        drawn = [
            (line.points, kind)
            for line, kind in zip(portrait.lines, kinds, strict=True)
            if len(line.points) > 1
        ]
        self._put(
            "lines",
            **polylines([points for points, _ in drawn]),
            colour=[colours.stability[kind] for _, kind in drawn],
            dash=[_DASHES.get(kind, "dotted") for _, kind in drawn],
        )
        single = [
            (line.points[0], kind)
            for line, kind in zip(portrait.lines, kinds, strict=True)
            if len(line.points) == 1
        ]
        points = [*zip(portrait.points, portrait.stability, strict=True), *single]
        self._put(
            "points",
            x=[float(point[0]) for point, _ in points],
            y=[float(point[1]) for point, _ in points],
            marker=[_MARKS[kind] for _, kind in points],
            size=[13 if kind == "saddle" else 11 for _, kind in points],
            colour=[colours.stability[kind] for _, kind in points],
            fill=[colours.stability[kind] if kind == "stable" else colours.paper for _, kind in points],
            stability=[kind for _, kind in points],
        )
        self._kinds = tuple(dict.fromkeys(kind for _, kind in points))

    def draw_basins(self, lattice: Lattice, view: View) -> None:
        """Shades of the fates of starts, on as many cells as the lattice has."""
        self._put(
            "basins",
            image=[picture_of(lattice, self.theme_name)],
            x=[-view.extent],
            y=[-view.extent],
            size=[2 * view.extent],
        )
        name = self.plane.title.text.split(" · ")[0]
        self.plane.title.text = f"{name} · {shares(lattice)} of {lattice.fate.size} starts"

    def draw_separatrices(self, found: tuple[Separatrix, ...]) -> None:
        """Stable and unstable manifolds."""
        self._put("stable manifold", **joined([branch for one in found for branch in one.stable]))
        self._put("unstable manifold", **joined([branch for one in found for branch in one.unstable]))

    def draw_diagram(self, found: Bifurcation | str, view: View) -> None:
        """Branches of w1 and their special points, or the sentence that says why there are none."""
        letter = LETTERS[view.parameter.replace("-", "_")]
        self.now.location = parameter_value(view)
        if isinstance(found, str):
            self._put("branches", xs=[], ys=[], colour=[], dash=[])
            self._put("special", x=[], y=[])
            self.about.text = found
            self.diagram.visible = False
            return
        self.diagram.visible = True
        parts = [
            (branch.value[part], branch.online[part], kind)
            for branch in sorted(found.branches, key=lambda branch: "stable" in branch.stability)
            for part, kind in runs(branch.stability)
        ]
        self._put(
            "branches",
            xs=[x for x, _, _ in parts],
            ys=[y for _, y, _ in parts],
            colour=[self.theme.stability[kind] for _, _, kind in parts],
            dash=[_DASHES.get(kind, "dotted") for _, _, kind in parts],
        )
        self._put(
            "special", x=[point.value for point in found.points], y=[point.online for point in found.points]
        )
        fit(
            self.diagram,
            found.interval,
            np.concatenate([[0.0], *(branch.online for branch in found.branches)]),
        )
        self.diagram.xaxis.axis_label = f"{letter} (now {parameter_value(view):g})"
        self.diagram.yaxis.axis_label = "w1 at rest"
        seen = dict.fromkeys(f"{happening(point)} at {point.value:.4g}" for point in found.points)
        what = "; ".join(seen) or "no bifurcation in this range"
        kept = view.weight_decay == 0 and view.parameter not in ("invariant", "weight-decay")
        where = f" on the leaf c = {view.invariant:g}" if kept else ""
        self.about.text = (
            f"Fixed points{where} against {letter}: {what}. The upright line is the view's {letter}."
        )

    def _key(self, frame: Frame) -> None:
        """What the marks in the plane mean, of those that are there."""
        colours = self.theme
        entries = []
        with look(theme=self.theme_name):
            for fate, below, text in _SHADES:
                entries.append((hex_of(fate_tint(fate, below)), "■", text))
        entries += [
            (colours.weights[one.of], "━", f"d{SYMBOLS[one.of]}/dt = 0")
            for one in frame.portrait.nullclines
            if one.branches
        ]
        marks = {"stable": "●", "half-stable": "⊙", "saddle": "✕", "unstable": "○", "degenerate": "◇"}
        entries += [(colours.stability[kind], marks[kind], kind) for kind in self._kinds]
        lines = {"attracting": "━", "repelling": "┈", "saddle": "╌", "degenerate": "┈"}
        across = dict.fromkeys(line.stability for line in frame.portrait.lines if len(line.points) > 1)
        entries += [
            (colours.stability[_ALONG.get(kind, kind)], lines[kind], f"line of fixed points, {kind}")
            for kind in across
        ]
        if frame.curves["boundary"]:
            entries.append((colours.ink, "╌", "boundary of collapse (R6)"))
        if frame.curves["leaf"]:
            entries.append((colours.muted, "┈", f"leaf c = {frame.view.invariant:g}"))
        if frame.portrait.separatrices:
            entries += [(colours.faint, "▬", "separatrix"), (colours.ink, "╌", "unstable manifold")]
        entries += [
            (colours.ink, "━", "trajectory"),
            (colours.ink, "·–", "its past"),
            (colours.ink, "■", "its start"),
        ]
        self.legend.text = " ".join(
            f'<span style="white-space:nowrap;margin-right:9px"><b style="color:{colour}">{mark}</b> {text}</span>'
            for colour, mark, text in entries
        )

    def _put(self, name: str, **columns: Any) -> None:
        self._sources[name].data = columns

    def column(self, source: str, name: str) -> Any:
        """Values of a column of what is drawn."""
        return self._sources[source].data[name]
