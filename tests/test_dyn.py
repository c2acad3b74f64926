"""`import dyn`: names, laziness, refusals, short answers, pictures on given axes, the numbers of the command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, report_of
from matplotlib.figure import Figure

import dyn
from figures.results.drawers import DRAWERS

SYSTEM: dict[str, Any] = {"lambda_s": 1.0, "lambda_d": 0.5}
SOURCE: dict[str, Any] = {"source": "exact", "sigma_s": [1.0], "sigma_d": [0.5]}


def dumped() -> dict[str, Any]:
    """Views of two features, and layers of which one direction is held and one lost."""
    x, *noise = np.random.default_rng(0).normal(size=(3, 400, 2))
    view1, view2 = (x + 0.5 * part for part in noise)
    return {"view1": view1, "view2": view2, "online": np.diag([0.8, 0.1]), "predictor": np.diag([0.8, -0.3])}


ANSWERS: dict[str, Callable[[], dyn.Result]] = {
    "modes": lambda: dyn.simulate(**SYSTEM),
    "many modes": lambda: dyn.simulate(lambda_s=[1.0] * 30, lambda_d=np.linspace(0.1, 1.0, 30).tolist()),
    "matrices": lambda: dyn.simulate(lambda_s=[1.0] * 12, lambda_d=np.linspace(0.1, 1, 12).tolist(), dim=10),
    "fixed points": lambda: dyn.fixed_points(**SYSTEM),
    "basins": lambda: dyn.basins(**SYSTEM, grid=8),
    "bifurcation": lambda: dyn.bifurcation(**SYSTEM, parameter="weight_decay", begin=0, end=0.1),
    "alignment": lambda: dyn.align(lambda_s=[1.5] * 3, lambda_d=[1.0] * 3, ema_ratio=0.9, t_end=2, dim=2),
    "contrast": lambda: dyn.contrast(
        lambda_s=[1.0] * 30, lambda_d=np.linspace(0.1, 1.0, 30).tolist(), dim=12
    ),
    "tree": lambda: dyn.tree(height=3),
    "diagnosis": lambda: dyn.diagnose(**dumped(), weight_decay=0.1, learning_rate=0.1, batch=8),
    "training": lambda: dyn.train(data=SOURCE, batch=None, encoder={"features": 1}, steps=3, seeds=range(12)),
}
UNDRAWN: dict[str, Callable[[], dyn.Result]] = {
    "moments": lambda: dyn.moments(**SYSTEM),
    "stability": lambda: dyn.stability(([[0.5]], [[0.5]], [[0.5]]), **SYSTEM),
    "encoders": lambda: dyn.sylvester([[0.5]], **SYSTEM),
    "checks": lambda: dyn.check("R1", "R3", seeds=1),
}


@pytest.fixture(scope="module")
def answers() -> dict[str, dyn.Result]:
    return {name: make() for name, make in (ANSWERS | UNDRAWN).items()}


# --- names --------------------------------------------------------------------------------------------------


def test_dir_is_all_and_every_name_is_there() -> None:
    assert dir(dyn) == sorted(dyn.__all__)
    for name in dyn.__all__:
        assert getattr(dyn, name) is not None


@pytest.mark.parametrize("name", [n for n in dyn.__all__ if callable(getattr(dyn, n)) and n != "look"])
def test_every_question_has_help_with_an_example(name: str) -> None:
    text = getattr(dyn, name).__doc__
    assert text
    assert (">>>" in text) or name == "System"


def test_an_unknown_name_is_refused_by_what_there_is() -> None:
    with pytest.raises(
        AttributeError, match="module 'dyn' has no attribute 'simulat'; it has Result, System, align"
    ):
        _ = dyn.simulat


def test_importing_loads_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import dyn; dir(dyn);"
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(eval(done.stdout)) - {"dyn"}
    assert loaded <= sys.stdlib_module_names


def test_simulating_loads_no_picture_and_no_jax() -> None:
    code = (
        "import sys, dyn; print(dyn.simulate(lambda_s=1, lambda_d=.5));"
        "print([m for m in ('jax', 'matplotlib', 'sklearn', 'xarray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "learned as predicted" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


# --- words --------------------------------------------------------------------------------------------------


def test_rows_are_attributes_and_items() -> None:
    assert dyn.variants.no_ema is dyn.variants["no-ema"]
    assert dyn.objectives.byol_prime.name == "byol-prime"
    assert "no_stop_gradient" in dir(dyn.variants)
    assert len(dyn.variants) == len(list(dyn.variants))
    with pytest.raises(AttributeError, match=r"dyn\.variants has full, fixed-target"):
        _ = dyn.variants.nothing
    with pytest.raises(KeyError, match=r"dyn\.objectives has byol"):
        _ = dyn.objectives["nothing"]


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (
            lambda: dyn.simulate(**SYSTEM, variant="tied"),
            r"`variant` must be a row of dyn.variants, such as dyn.variants\['tied'\], got 'tied'",
        ),
        (
            lambda: dyn.basins(**SYSTEM, objective="raft"),
            r"`objective` must be a row of dyn.objectives, such as dyn.objectives\['raft'\], got 'raft'",
        ),
        (lambda: dyn.train(objective="byol"), "`objective` must be a row of dyn.objectives"),
        (lambda: dyn.simulate(**SYSTEM, weight_decay=-1), "`weight_decay` must be finite and >= 0, got -1"),
        (lambda: dyn.simulate(**SYSTEM, tau_target=0), "`tau_target` must be finite and > 0, got 0"),
        (lambda: dyn.simulate(lambda_s=1, lambda_d=2), "`lambda_d` must be >= 0 and <= λs = 1"),
        (lambda: dyn.simulate(lambda_s=1), "`lambda_s` and `lambda_d` must both be given, got no `lambda_d`"),
        (lambda: dyn.simulate(), "by `lambda_s` and `lambda_d`, or by `moments`, got neither"),
        (
            lambda: dyn.simulate(**SYSTEM, alpha=2),
            "`alpha` must go with `objective` byol-prime or raft, got byol",
        ),
        (
            lambda: dyn.simulate(dyn.system(**SYSTEM), weight_decay=1),
            "without the words that make one, got weight",
        ),
        (lambda: dyn.simulate("system"), "`system` must be made by dyn.system, got 'system'"),
        (lambda: dyn.simulate(**SYSTEM, dim=1, online=0.2), "`online` must go with modes"),
        (lambda: dyn.simulate(**SYSTEM, dim=1, init_online=-1), "`init_online` must be 0, or lie within"),
        (
            lambda: dyn.simulate(**SYSTEM, dim=1, variant=dyn.variants.tied),
            "`variant` must be one of matrices",
        ),
        (lambda: dyn.simulate(**SYSTEM, state=([[1, 2]], [[1]], [[1]])), "`state` must hold W, P and Θ"),
        (
            lambda: dyn.bifurcation(**SYSTEM, parameter="eta", begin=0, end=1),
            "`parameter` must be one of lambda_s",
        ),
        (
            lambda: dyn.bifurcation(**SYSTEM, parameter="weight_decay", begin=1, end=0),
            "`begin` must be less than",
        ),
        (
            lambda: dyn.stability([1, 2, 3], **SYSTEM, variant=dyn.variants.no_ema),
            "`variant` must be dyn.variants.full",
        ),
        (lambda: dyn.contrast(**SYSTEM, objective=dyn.objectives.byol), "`objective` must be one of infonce"),
        (
            lambda: dyn.contrast(**SYSTEM, objective=dyn.objectives.simple, negatives=2),
            "`negatives` must go with",
        ),
        (lambda: dyn.contrast(**SYSTEM, tau_target=2), "`tau_target` must be left out"),
        (lambda: dyn.contrast(**SYSTEM, variant=dyn.variants.tied), "`variant` must be dyn.variants.full"),
        (lambda: dyn.simulate(**SYSTEM, init_online=1), "`init_online` must go with `dim`"),
        (
            lambda: dyn.simulate(**SYSTEM, state=([[1]], [[1]], [[1]]), init_online=1),
            "`init_online` must not be given with `state`",
        ),
        (lambda: dyn.simulate(**SYSTEM, state=([[1]], [[1]], [[np.nan]])), "`state` must be finite"),
        (lambda: dyn.moments(), "moments must be given in one way"),
        (lambda: dyn.moments(data="digits", augment="shift:1"), r"`augment` must be a list .* got 'shift:1'"),
        (lambda: dyn.diagnose(**dumped() | {"view2": None}), "view2 must be given"),
        (lambda: dyn.diagnose(**dumped(), rate=0.1), "`settings` must be some of .* got 'rate'"),
        (lambda: dyn.diagnose(**dumped(), batch=0), "`batch` must be an integer"),
        (lambda: dyn.check("R99"), "a result must be one of R1"),
        (lambda: dyn.figure("tied", nothing=1), "a parameter of figure tied must be one of"),
    ],
)
def test_nonsense_is_refused_in_the_words_that_were_typed(question: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        question()


# --- answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*ANSWERS, *UNDRAWN])
def test_answers_print_in_less_than_twelve_lines(name: str, answers: dict[str, dyn.Result]) -> None:
    lines = repr(answers[name]).splitlines()
    assert 1 <= len(lines) < 12
    assert "object at 0x" not in repr(answers[name])
    assert "array(" not in repr(answers[name])


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_draw_a_page_a_panel_and_a_picture(name: str, answers: dict[str, dyn.Result]) -> None:
    ax = Figure().subplots()
    assert answers[name].plot(ax) is ax
    assert ax.has_data()
    page: Any = answers[name].plot()
    assert isinstance(page, Figure)
    for picture in (answers[name]._repr_png_(), page._repr_png_()):
        assert picture is not None
        assert picture[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("name", UNDRAWN)
def test_answers_without_a_picture_say_so(name: str, answers: dict[str, dyn.Result]) -> None:
    assert answers[name]._repr_png_() is None
    with pytest.raises(ValueError, match="which has none"):
        answers[name].plot()


def test_answers_are_the_objects_of_the_analysis(answers: dict[str, dyn.Result]) -> None:
    run = answers["modes"]
    assert run.trajectory is run.found.trajectory
    assert {"plot", "trajectory", "fate"} <= set(dir(run))
    with pytest.raises(AttributeError, match="nothing"):
        _ = run.nothing


def test_every_drawer_and_its_type_exist() -> None:
    for where, drawer in DRAWERS.items():
        for name in (where, *drawer):
            module, attribute = name.split(":")
            assert getattr(import_module(module), attribute).__module__ == module


def test_numbers_are_those_of_the_command(dyn_command: Callable[..., Any]) -> None:
    report = report_of(dyn_command, "simulate", "--lambda-s", 1, "--lambda-d", 0.5, "--predictor", -0.3)
    run = dyn.simulate(**SYSTEM, predictor=-0.3)
    assert run.report() == {name: value for name, value in report.items() if name != "seconds"}
    final = run.to_xarray().isel(t=-1)
    (mode,) = report["modes"]
    assert {name: float(final[name][0]) for name in ("online", "predictor", "target")} == mode["final"]
    assert float(final["t"]) == report["t"]


def test_a_diagnosis_is_that_of_the_command(dyn_command: Callable[..., Any]) -> None:
    np.savez("dump.npz", **dumped())
    settings = ["--weight-decay", 0.1, "--learning-rate", 0.1, "--batch", 8, "--decay", 0.5]
    report = report_of(dyn_command, "diagnose", "dump.npz", *settings)
    found = dyn.diagnose(**dumped(), weight_decay=0.1, learning_rate=0.1, batch=8, decay=0.5)
    assert found.report() == {name: value for name, value in report.items() if name != "seconds"}
    assert found.verdict == "collapsing"
    assert found.to_xarray()["fate"].shape == (2,)


def test_matrices_are_those_of_the_command(dyn_command: Callable[..., Any]) -> None:
    given = ["--lambda-s", 1, "--lambda-s", 1, "--lambda-d", 0.5, "--lambda-d", 0.2, "--dim", 2, "--seed", 3]
    report = report_of(dyn_command, "simulate", *given, "--out", "run.npz")
    run = dyn.simulate(lambda_s=[1, 1], lambda_d=[0.5, 0.2], dim=2, seed=3)
    assert run.report()["final"] == report["final"]
    end = run.to_xarray().isel(t=-1)
    expected = [complex(*pair) for pair in report["final"]["predictor_eigenvalues"]]
    # the same matrix twice: eigenvalues in another order are all that could differ
    np.testing.assert_allclose(np.sort_complex(np.linalg.eigvals(end.predictor)), np.sort_complex(expected))
    np.testing.assert_allclose(
        np.linalg.svd(end.online, compute_uv=False), report["final"]["online_singular_values"]
    )
    with np.load("run.npz") as saved:
        for name, values in run.to_xarray().variables.items():
            np.testing.assert_array_equal(values, saved[name])
    assert dyn.stability(run, lambda_s=[1, 1], lambda_d=[0.5, 0.2], polish=True).verdict == "stable"
    assert dyn.sylvester(run, lambda_s=[1, 1], lambda_d=[0.5, 0.2], tolerance=1e-6).nullity == 2


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["fixed-points", "--weight-decay", 0.04], lambda: dyn.fixed_points(**SYSTEM, weight_decay=0.04)),
        (["basins", "--grid", 8], lambda: dyn.basins(**SYSTEM, grid=8)),
        (["contrast", "--negatives", 1], lambda: dyn.contrast(**SYSTEM, negatives=1)),
        (
            [
                "bifurcation", "--parameter", "alpha", "--from", 0.5, "--to", 1,
                "--objective", "byol-prime", "--weight-decay", 0.02,
            ],
            lambda: dyn.bifurcation(
                **SYSTEM,
                parameter="alpha", begin=0.5, end=1, objective=dyn.objectives.byol_prime, weight_decay=0.02,
            ),
        ),
    ],
    ids=lambda item: item[0] if isinstance(item, list) else "",
)  # fmt: skip
def test_reports_are_those_of_the_commands(
    arguments: list[Any], answer: Callable[[], dyn.Result], dyn_command: Callable[..., Any]
) -> None:
    name, *rest = arguments
    report = report_of(dyn_command, name, "--lambda-s", 1, "--lambda-d", 0.5, *rest)
    assert answer().report() == {key: value for key, value in report.items() if key != "seconds"}


def test_a_figure_of_the_gallery_prints_its_caption() -> None:
    found = dyn.figure("bifurcation")
    assert len(repr(found).splitlines()) < 12
    assert isinstance(found.plot(), Figure)
    with pytest.raises(ValueError, match="a figure of the gallery is a page of its own"):
        found.plot(Figure().subplots())


@pytest.fixture
def dyn_command(request: pytest.FixtureRequest) -> Callable[..., tuple[Any, str, str]]:
    """The fixture `dyn`, whose name is the module's here."""
    return request.getfixturevalue("dyn")


def test_moments_of_a_latent_tree_need_no_augmentation() -> None:
    found = dyn.moments(data="tree:height=3:polarity=.8")
    ceiling = dyn.tree(height=3, polarity=0.8).linear[-1]
    assert found.ratios[0] == pytest.approx(ceiling**2, rel=1e-12)
    noisy = dyn.moments(data="tree:height=3:polarity=.8", augment=["noise:0.5"])
    assert noisy.ratios[0] < found.ratios[0]


def test_a_tree_is_given_whole_or_by_words() -> None:
    from dynamics.data.latent_trees import LatentTree

    given = LatentTree.binary(2, 3, 0.8)
    assert dyn.tree(given).report() == dyn.tree(height=3).report()
    for words, message in (
        ({"tree": given, "height": 3}, "`height` must be left out with `tree`"),
        ({"polarity": 0.5, "polarity_range": (0.5, 1.0)}, "`polarity` must be left out"),
        ({"polarity_range": (1.0, 0.5)}, "`polarity_range` must be LOW <= HIGH"),
    ):
        with pytest.raises(ValueError, match=message):
            dyn.tree(**words)
