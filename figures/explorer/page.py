"""The page of the explorer: controls, what each does to the view, and what is recomputed when it changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.fixed_points.bifurcations import PARAMETERS
from analysis.phase_planes.planes import ON_LEAVES
from dynamics.objectives import OBJECTIVES, linear_objectives
from dynamics.variants import VARIANTS
from figures.explorer.canvas import LETTERS, SIDE, WIDE, Canvas
from figures.explorer.commands import commands_of
from figures.explorer.presets import PRESETS
from figures.explorer.scene import CELLS, Frame, diagram_of, frame_of, lattice_of, portrait_of, start_at
from figures.explorer.state import MOST_KEPT, PLANES, View
from figures.style import THEMES

if TYPE_CHECKING:
    from bokeh.document import Document
    from bokeh.models import UIElement

SLIDERS = {
    "lambda_s": (0.05, 3.0, 0.01),
    "lambda_d": (0.0, 3.0, 0.01),
    "tau_online": (0.1, 20.0, 0.1),
    "tau_predictor": (0.1, 20.0, 0.1),
    "tau_target": (0.1, 20.0, 0.1),
    "weight_decay": (0.0, 0.3, 0.001),
    "invariant": (-1.0, 1.0, 0.01),
    "step": (0.0, 1.0, 0.01),
    "target": (-1.5, 1.5, 0.01),
    "alpha": (0.0, 3.0, 0.01),
    "beta": (0.01, 3.0, 0.01),
}
"""Least, largest value and step of each slider."""

_NAMES = {
    "lambda_s": "λs",
    "lambda_d": "λd",
    "tau_online": "τo, online",
    "tau_predictor": "τp, predictor",
    "tau_target": "τt, target",
    "weight_decay": "weight decay η",
    "invariant": "invariant c of the leaf",
    "step": "step ε (0: the flow)",
    "target": "θ of the slice and the start",
    "alpha": "α of the objective",
    "beta": "β of the objective",
}
_COLUMN = 270
_CALM_MS = 250  # without another view, after which one is made finer
_PLANE_NAMES = {"weights": "(w1, w2)", "leaf": "leaf of c"}


class Workers(NamedTuple):
    """Threads that compute: one for frames, so that none waits behind what makes an older one finer.

    Parameters
    ----------
    frames, finer
        What computes.
    resume
        Calls a function in the thread of the pages, from any other.
    """

    frames: Executor
    finer: Executor
    resume: Callable[[Callable[[], Any]], Any]


class Page:
    """A page of one visitor.

    Parameters
    ----------
    document
        Bokeh's document, to which the page adds itself.
    view
        What is shown first.
    message
        A sentence on top, such as why an address was not understood.
    exports
        Path after which ``.png``, ``.svg`` or ``.npz`` and the query string make the address of a download.
    workers
        What computes beside the page, which itself only draws: frames, and what makes them finer.
    """

    def __init__(self, document: Document, view: View, message: str, exports: str, workers: Workers) -> None:
        self.document, self.view, self.exports, self.workers = document, view, exports, workers
        self._wanted, self._message, self._at_work = view, message, False
        self.canvas = Canvas(view.theme)
        self._generation, self._syncing, self._gone = 0, False, False
        self._asked: dict[str, Any] = {}
        self._known: set[str] = set()  # variants whose kernel is compiled
        self._make_controls()
        self._lay_out()
        self._sync()
        self._show(view, message)
        document.on_session_destroyed(self._left)

    def _left(self, context: Any) -> None:
        """Give up what is still computed for a visitor who has gone."""
        self._generation += 1
        self._gone = True

    # --- controls

    def _make_controls(self) -> None:
        from bokeh.models import (
            Button,
            CustomJS,
            Div,
            InlineStyleSheet,
            NumericInput,
            RadioButtonGroup,
            Select,
            Slider,
        )  # fmt: skip

        colours = THEMES[self.view.theme]
        sheets = [InlineStyleSheet(css=_css(self.view.theme))]
        ink = {"color": colours.ink, "font-size": "13px"}
        half = (_COLUMN - 10) // 2
        self.message = Div(
            name="message", styles={**ink, "font-weight": "bold", "color": colours.stability["stable"]}
        )
        self.sliders = {
            name: Slider(
                name=name, title=_NAMES[name], start=low, end=high, step=step, value=low, width=_COLUMN,
                format="0.000" if step < 0.01 else "0.00", stylesheets=sheets, margin=(0, 5, 0, 5),
            )
            for name, (low, high, step) in SLIDERS.items()
        }  # fmt: skip
        for name, slider in self.sliders.items():
            slider.on_change("value", partial(self._moved, name))
        self.selects = {
            "variant": Select(name="variant", title="variant", options=list(VARIANTS), width=half),
            "objective": Select(
                name="objective", title="objective", options=list(linear_objectives()), width=half
            ),
            "parameter": Select(name="parameter", title="diagram over", options=list(PARAMETERS), width=half),
            "theme": Select(name="theme", title="theme", options=list(THEMES), width=half),
        }
        for name, select in self.selects.items():
            select.stylesheets = sheets
            select.on_change("value", partial(self._moved, name))
        self.selects["theme"].js_on_change("value", CustomJS(code=_RELOAD))
        self.preset = Select(
            name="preset",
            title="preset",
            options=["–", *PRESETS],
            value="–",
            width=_COLUMN,
            stylesheets=sheets,
        )
        self.preset.on_change("value", self._preset)
        self.planes = RadioButtonGroup(
            name="planes", labels=[_PLANE_NAMES[name] for name in PLANES], width=_COLUMN, stylesheets=sheets
        )
        self.planes.on_change("active", self._plane)
        titles = {"online": "start w1", "predictor": "start w2", "extent": "window ±"}
        self.fields = {
            name: NumericInput(name=name, title=title, mode="float", width=80, stylesheets=sheets)
            for name, title in titles.items()
        }
        self.fields["extent"].on_change("value", partial(self._moved, "extent"))
        third = (_COLUMN - 20) // 3
        self.run = Button(label="Run", name="run", width=third, stylesheets=sheets)
        self.run.on_click(self._typed)
        self.keep = Button(label="Keep", name="keep", width=third, stylesheets=sheets)
        self.keep.on_click(self._keep)
        self.clear = Button(label="Clear", name="clear", width=third, stylesheets=sheets)
        self.clear.on_click(lambda: self._try(lambda: replace(self.view, kept=())))
        self.commands = Div(name="commands", width=WIDE + 45, styles={**ink, "user-select": "text"})
        self.downloads = Div(name="downloads", styles=ink)
        self.copy = Button(label="Copy the commands", name="copy", width=150, stylesheets=sheets)
        # read by the browser alone: the query string, and the commands as plain text
        self.address = Div(name="address", visible=False)
        self.address.js_on_change("text", CustomJS(code=_REPLACE))
        self.plain = Div(name="plain", visible=False)
        self.copy.js_on_click(
            CustomJS(args={"plain": self.plain}, code="navigator.clipboard.writeText(plain.text)")
        )
        from bokeh.events import Tap

        self.canvas.plane.on_event(Tap, self._clicked)

    def _lay_out(self) -> None:
        from bokeh.layouts import column, row

        canvas, selects, fields = self.canvas, self.selects, self.fields
        controls = column(
            self.preset,
            row(selects["variant"], selects["objective"]),
            self.planes,
            *self.sliders.values(),
            row(fields["online"], fields["predictor"], fields["extent"]),
            row(self.run, self.keep, self.clear),
            row(selects["parameter"], selects["theme"]),
            width=_COLUMN + 10,
        )
        middle = column(canvas.plane, canvas.fate, canvas.legend, canvas.notes, width=SIDE + 70)
        beside = column(
            canvas.diagram, canvas.about, canvas.course, canvas.drift, self.commands, row(self.copy, self.downloads),
            width=WIDE + 60,
        )  # fmt: skip
        columns: list[UIElement] = [controls, middle, beside]
        page = column(self.message, row(*columns, styles={"flex-wrap": "wrap"}), self.address, self.plain)
        page.sizing_mode = "stretch_width"
        for item in page.children:
            item.sizing_mode = "stretch_width"
        self.document.add_root(page)
        self.document.title = "dyn explore"
        self.document.template = page_template(self.view.theme)

    # --- what a visitor does

    def _moved(self, name: str, attribute: str, old: Any, new: Any) -> None:
        if self._syncing or new is None or new == getattr(self._wanted, name):
            return
        self._later({name: float(new) if isinstance(getattr(self.view, name), float) else new})

    def _later(self, changes: Mapping[str, Any]) -> None:
        """Change the view once all moves that have arrived are known: a slider sends more than can be drawn."""
        if not self._asked:
            self.document.add_next_tick_callback(self._now)
        self._asked |= changes

    def _now(self) -> None:
        changes, self._asked = self._asked, {}
        self._try(lambda: replace(self._wanted, **changes))

    def _plane(self, attribute: str, old: Any, new: int) -> None:
        if not self._syncing:
            self._try(lambda: replace(self._wanted, plane=PLANES[new]))

    def _preset(self, attribute: str, old: str, new: str) -> None:
        if new in PRESETS:
            self._try(lambda: replace(PRESETS[new], theme=self.view.theme, kept=self._wanted.kept))

    def _typed(self) -> None:
        given = {name: self.fields[name].value for name in ("online", "predictor")}
        values: dict[str, Any] = {name: float(value) for name, value in given.items() if value is not None}
        self._try(lambda: replace(self._wanted, **values))

    def _clicked(self, event: Any) -> None:
        self._try(lambda: start_at(self._wanted, event.x, event.y))

    def _keep(self) -> None:
        one = self._wanted.run_view()
        kept = [each for each in self._wanted.kept if each != one][-(MOST_KEPT - 1) :]
        self._try(lambda: replace(self._wanted, kept=(*kept, one)))

    # --- what follows

    def _try(self, change: Callable[[], View]) -> None:
        try:
            view = change()
        except ValueError as error:
            self._refused(str(error))
            return
        self._show(view)

    def _show(self, view: View, message: str = "") -> None:
        """Ask for a view; of those asked for while a frame is computed only the last one is computed."""
        self._wanted, self._message = view, message
        if not self._at_work:
            self._begin()

    def _begin(self) -> None:
        self._at_work = True
        view, message = self._wanted, self._message
        known = view.variant in self._known  # else its kernel is compiled beside the page
        work = partial(frame_of, view, cells=CELLS[0] if known else None)
        self._then(self.workers.frames.submit(work), partial(self._arrived, view, message))

    def _then(self, future: Future[Any], next_step: Callable[[Future[Any]], None]) -> None:
        """Go on in the page's own thread when a computation is done, unless the visitor has gone."""

        def go_on(done: Future[Any]) -> None:
            if not self._gone:
                self.document.add_next_tick_callback(partial(next_step, done))

        future.add_done_callback(lambda done: self.workers.resume(partial(go_on, done)))

    def _arrived(self, view: View, message: str, done: Future[Any]) -> None:
        """Show a frame, or say why there is none and stay."""
        self._at_work = False
        superseded = self._wanted is not view
        try:
            frame = done.result()
        except ValueError as error:
            if not superseded:
                self._no_picture(view, str(error))
                return
        else:
            self._draw(frame, message)
        if superseded:
            self._begin()

    def _draw(self, frame: Frame, message: str) -> None:
        view = self.view = frame.view
        self._generation += 1
        self._say(message)
        self.canvas.draw(frame)
        if self._wanted is view:  # else controls are ahead of the picture
            self._sync()
        stages: list[int | str] = ["separatrices", "diagram", *CELLS[1:]]
        if frame.lattice is None:
            stages = ["diagram", CELLS[0], "separatrices", *CELLS[1:]]
        # not while a slider moves: it would take the time of the frames that follow
        later = partial(self._submit, self._generation, stages)
        self.document.add_timeout_callback(later, _CALM_MS)

    def _no_picture(self, view: View, why: str) -> None:
        if self._generation:
            self._refused(why)
        else:
            sentence = f"This address has no picture, so the default view is shown: {_in_letters(why)}."
            self._show(View(theme=view.theme), sentence)

    def _refused(self, why: str) -> None:
        """Say why a view cannot be shown, and let the controls show what is."""
        if not self._at_work:
            self._wanted = self.view
        self._say(_in_letters(why))
        self._sync()

    def _say(self, sentence: str) -> None:
        self.message.text = escape(sentence)
        self.message.visible = bool(sentence)

    def _submit(self, generation: int, stages: Sequence[int | str]) -> None:
        """Work on what is left of a view beside the page, one stage after another, until another view is asked for."""
        if not stages or generation != self._generation:
            return
        view, stage = self.view, stages[0]
        work: Callable[[], Any]
        if stage == "separatrices":
            work = partial(portrait_of, view, manifolds=True)
        elif stage == "diagram":
            work = partial(diagram_of, view)
        else:
            assert isinstance(stage, int)
            work = partial(lattice_of, view, stage, lambda: generation != self._generation)
        self._then(self.workers.finer.submit(work), partial(self._finished, generation, stages))

    def _finished(self, generation: int, stages: Sequence[int | str], done: Any) -> None:
        found = done.result()
        if generation != self._generation:
            return
        if stages[0] == "separatrices":
            self.canvas.draw_separatrices(found.separatrices)
        elif stages[0] == "diagram":
            self.canvas.draw_diagram(found, self.view)
        else:
            self._known.add(self.view.variant)
            self.canvas.draw_basins(found, self.view)
        self._submit(generation, stages[1:])

    def _sync(self) -> None:
        """Let every control show the view."""
        view = self.view
        self._syncing = True
        for name, slider in self.sliders.items():
            value = getattr(view, name)
            slider.start, slider.end = min(slider.start, value), max(slider.end, value)
            slider.value = value
        weights = OBJECTIVES[view.objective].weights
        for name in ("alpha", "beta"):
            self.sliders[name].visible = name in weights
        for name, select in self.selects.items():
            select.value = getattr(view, name)
        start = view.start
        for name in ("online", "predictor"):
            self.fields[name].value = float(getattr(start, name).item())
        self.fields["extent"].value = view.extent
        self.planes.active = PLANES.index(view.shown_plane)
        self.planes.disabled = view.variant not in ON_LEAVES
        self._syncing = False
        query = view.query()
        if PRESETS.get(self.preset.value, view) != replace(view, theme="light", kept=()):
            self.preset.value = "–"
        commands = commands_of(view)
        self.plain.text = "\n".join(commands)
        self.commands.text = "The commands of this view:" + "".join(
            f'<pre style="white-space:pre-wrap;margin:4px 0">{escape(command)}</pre>' for command in commands
        )
        links = " ".join(
            f'<a style="color:inherit" download="explore.{kind}" href="{self.exports}.{kind}?{escape(query)}">'
            f"{kind.upper()}</a>"
            for kind in ("png", "svg", "npz")
        )
        self.downloads.text = f"Download: {links}"
        self.address.text = query


def _in_letters(message: str) -> str:
    """Write numbers of the view as the page does.

    >>> _in_letters("`tau_target` must be > 0")
    'τt must be > 0'
    """
    for name, letter in LETTERS.items():
        message = message.replace(f"`{name}`", letter)
    return message.replace("`", "")


_REPLACE = """
const query = cb_obj.text
history.replaceState(null, "", location.pathname + (query ? "?" + query : ""))
"""

_RELOAD = """
const words = new URLSearchParams(location.search)
if ((words.get("theme") ?? "light") !== cb_obj.value) {
    words.set("theme", cb_obj.value)
    location.search = words.toString()
}
"""


def _css(theme: str) -> str:
    """Colours of the controls."""
    colours = THEMES[theme]
    box = f"background-color: {colours.paper}; color: {colours.ink}; border-color: {colours.muted};"
    return (
        f":host {{ color: {colours.ink}; font-size: 13px; color-scheme: {theme}; }}"
        f" .bk-input {{ {box} padding: 0 6px; height: 28px; min-height: 28px; }}"
        " select.bk-input { background-image: none !important; appearance: auto !important; }"
        f" .bk-btn {{ {box} padding: 4px 8px; }}"
        f" .bk-btn.bk-active {{ background-color: {colours.faint}; }}"
        f" .bk-btn.bk-btn-default[disabled] {{ {box} opacity: 0.6; }}"
        f" .noUi-target {{ background: {colours.faint}; border-color: {colours.muted}; }}"
    )


def page_template(theme: str) -> str:
    """HTML around the page: Bokeh's own, on the paper of the theme."""
    paper, ink = THEMES[theme].paper, THEMES[theme].ink
    return (
        "{% block postamble %}"
        f"<style>html, body {{ background: {paper}; color: {ink}; margin: 0; padding: 4px; }}</style>"
        "{% endblock %}"
    )
