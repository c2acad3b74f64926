"""Specs of sweeps: what is refused and how, which run has which parameters, and that draws follow their laws."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from analysis.sweeps import design, load_spec
from analysis.sweeps.design import BLOCK, Draw, drawn
from analysis.sweeps.registry import KINDS

MODES = {"lambda_s": 1.0, "ratio": 0.5, "t_end": 5.0}
MATRICES = {"kind": "matrices", "settings": {"lambda_s": [1, 1], "lambda_d": [0.5, 0.2]}}


def modes(top=None, **parameters):
    return {"parameters": {**MODES, **parameters}, **(top or {})}


def matrices(settings=None, **parameters):
    return {"kind": "matrices", "settings": settings or MATRICES["settings"], "parameters": parameters}


# ------------------------------------------------------------------------------------------------------ refusals

REFUSED = [
    (modes(lamda_d=1.0), "parameters.lamda_d is not known: did you mean lambda_d"),
    (modes({"parametres": {}}), "parametres is not known: did you mean parameters"),
    (modes({"keep": ["fates"]}), "keep: fates is not known: did you mean fate"),
    (modes({"keep": ["lambda_s"]}), "keep: lambda_s is not known"),
    (modes({"keep": []}), "keep must be a list of names, such as ['fate'], got []"),
    (modes({"keep": "fate"}), "keep must be a list of names, such as ['fate'], got 'fate'"),
    (modes({"settings": {"tolerance": 1}}), "settings.tolerance is not known"),
    (modes(online={"nomal": [0, 1]}), "parameters.online.nomal is not known: did you mean normal"),
    ({"kind": "mode"}, "kind must be one of modes, matrices, got 'mode'"),
    ({"parameters": {"t_end": 1, "ratio": 0.5}}, "parameters must give lambda_s"),
    (modes(lambda_d=0.5), "one of lambda_d and ratio, got both"),
    ({"parameters": {"lambda_s": 1, "t_end": 1}}, "one of lambda_d and ratio, got neither"),
    (modes(online={"values": []}), "parameters.online.values must not be empty"),
    (modes(online={"linspace": [0, 1, 0]}), "parameters.online.linspace must have 1 to"),
    (modes(online={"linspace": [0, 1, 1e15]}), "parameters.online.linspace must have 1 to"),
    (modes(online={"linspace": [0, 1]}), "parameters.online.linspace must have 3 numbers"),
    (
        modes(online={"values": [0.1, float("nan")]}),
        "parameters.online.values must be finite numbers, got nan",
    ),
    (modes(online=float("inf")), "parameters.online must be finite numbers, got inf"),
    (modes(online="a lot"), "parameters.online must be finite numbers, got 'a lot'"),
    (modes(online=True), "parameters.online must be finite numbers, got True"),
    (modes(online={"values": [1], "normal": [0, 1]}), "parameters.online must have one of values"),
    (modes(online={"values": 1}), "parameters.online.values must be a list"),
    (modes({"samples": 2}, tau_online={"normal": [1, 0.1]}), "parameters.tau_online must be > 0, got -inf"),
    (modes({"samples": 2}, tau_online={"uniform": [0, 1]}), "parameters.tau_online must be > 0, got 0"),
    (modes(tau_online={"values": [1, -2]}), "parameters.tau_online must be > 0, got -2"),
    (modes(weight_decay=-1), "parameters.weight_decay must be >= 0, got -1"),
    (modes({"samples": 2}, online={"uniform": [1, 0]}), "must not end before it begins"),
    (modes({"samples": 2}, online={"normal": [0, -1]}), "must have a deviation >= 0"),
    (modes({"samples": 2}, online={"loguniform": [0, 1]}), "must have two ends > 0"),
    (modes(online={"uniform": [0, 1]}), "samples must say how many runs to draw"),
    (modes({"samples": 0}), "samples must be an integer >= 1"),
    (modes({"samples": 1.5}), "samples must be an integer >= 1"),
    (modes({"seed": -1}), "seed must be an integer >= 0"),
    (modes({"settings": {"variant": "ful"}}), "settings.variant must be one of full"),
    (modes({"settings": {"rtol": 0}}), "settings.rtol must be > 0 and <= 0.01"),
    (modes({"settings": {"max_steps": 0}}), "settings.max_steps must be an integer >= 1"),
    (modes({"settings": {"variant": "tied"}}, predictor=0.2), "parameters.predictor is not known"),
    (modes({"settings": 3}), "settings must be a table"),
    (matrices({"lambda_s": [1]}), "lambda_s and lambda_d together"),
    (matrices({"data": "digits", "moments": "m.npz"}), "got data and moments"),
    ({"kind": "matrices"}, "got none of them"),
    (matrices(dim={"values": [2, 2.5]}), "parameters.dim must be whole"),
    (matrices(dim=0), "parameters.dim must be >= 1"),
    (matrices(dim={"uniform": [1, 3]}), "parameters.dim must be whole"),
    (matrices(seed={"range": [0, 1.5]}), "parameters.seed.range must have whole ends"),
    (matrices(noise=1.0), "parameters.noise is not known"),
    (matrices({"data": "digits", "augment": ["noise:{noise}"]}), "parameters must give noise"),
    (matrices({"data": "digits", "augment": ["nose:1"]}), "an augmentation must be one of"),
    (matrices({"data": "digits", "augment": ["shift:{k}"]}, k={"values": [1, 2.5]}), "shift:2.5"),
    (matrices({"data": "digits", "augment": ["shift:{k}"]}, k={"values": [1, 9]}), "less than the image"),
    (matrices({"data": "digits", "augment": ["noise:{dim}"]}), "must not name a strength like a parameter"),
    (matrices({"data": "digits", "augment": ["noise:{rank}"]}, rank=1), "must not have the name of a result"),
    (
        matrices({"data": "digits", "augment": ["noise:{sample}"]}, sample=1),
        "must not have the name of a result",
    ),
    (matrices({"data": "digits", "augment": "noise:1"}), "settings.augment must be a list"),
    (matrices({"data": "digits", "augment": ["noise:{"]}), "settings.augment has unpaired braces"),
    (matrices({"lambda_s": [1], "lambda_d": [1], "augment": ["noise:1"]}), "must go with settings.data"),
    (matrices({"lambda_s": [1, 1], "lambda_d": [0.5, 2]}), "`lambda_d` must be >= 0 and <= λs"),
    (matrices({"moments": "missing.npz"}), "missing.npz does not exist"),
]


@pytest.mark.parametrize(("table", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_specs_are_refused(table, message):
    with pytest.raises((ValueError, FileNotFoundError)) as refusal:
        design(table)
    assert message in str(refusal.value)


def test_a_file_that_is_not_toml_is_refused(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text("kind = modes\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"s\.toml must be TOML"):
        load_spec(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="must be TOML"):
        load_spec(path)


# ---------------------------------------------------------------------------------------------- grids and draws


def test_runs_are_numbered_row_by_row():
    spec = modes(
        {"samples": 3}, online={"values": [1, 2]}, weight_decay={"linspace": [0, 0.5, 5]}, ratio=0.25
    )
    made = design(spec)
    assert made.dims == ("online", "weight_decay", "sample")
    assert made.shape == (2, 5, 3)
    columns = made.columns(0, made.size)
    w1, eta, _ = np.meshgrid([1, 2], np.linspace(0, 0.5, 5), np.arange(3), indexing="ij")
    assert_array_equal(columns["online"], w1.ravel())
    assert_array_equal(columns["weight_decay"], eta.ravel())
    assert_array_equal(columns["ratio"], np.full(30, 0.25))
    assert_array_equal(columns["target"], np.full(30, 0.1))


def test_axes_are_what_numpy_makes_of_them():
    spec = modes(
        online={"linspace": [-1, 1, 7]},
        predictor={"geomspace": [0.01, 10, 4]},
        target={"range": [2, 5]},
        ratio={"values": [0.5, 0.1]},
    )
    axes = design(spec).axes
    assert_array_equal(axes["online"], np.linspace(-1, 1, 7))
    assert_allclose(axes["predictor"], [0.01, 0.1, 1, 10], rtol=1e-15)
    assert_array_equal(axes["target"], [2, 3, 4, 5])
    assert_array_equal(axes["ratio"], [0.5, 0.1])


def test_without_axes_there_is_one_run_or_samples():
    assert design(modes()).shape == (1,)
    assert design(modes({"samples": 7}, online={"normal": [0, 1]})).dims == ("sample",)
    assert design(modes(online={"values": [1]})).dims == ("online",)
    assert design(matrices()).size == 1  # the seed is drawn


LAWS = {
    ("uniform", -1.0, 3.0): stats.uniform(-1, 4),
    ("loguniform", 0.01, 10.0): stats.loguniform(0.01, 10),
    ("normal", 2.0, 0.5): stats.norm(2, 0.5),
    ("integers", 3.0, 9.0): stats.randint(3, 10),
}


@given(
    st.sampled_from(list(LAWS)),
    st.integers(0, 2**63),
    st.integers(0, 10**15),
    st.integers(0, 2 * BLOCK),
    st.integers(0, 40),
)
def test_a_draw_depends_on_seed_and_run_number_alone(law, seed, first, before, n):
    whole = drawn(Draw(*law), seed, "online", first, first + before + n)
    assert_array_equal(whole[before:], drawn(Draw(*law), seed, "online", first + before, first + before + n))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law[0])
def test_draws_follow_their_law(law):
    values = drawn(Draw(*law), 0, "online", 5, 50_005)  # three blocks and more
    low, high = Draw(*law).ends
    assert np.all((values >= low) & (values <= high))
    if law[0] == "integers":
        seen, counts = np.unique(values, return_counts=True)
        assert seen.tolist() == list(range(3, 10))
        p = stats.chisquare(counts).pvalue
    else:
        p = stats.kstest(values, LAWS[law].cdf).pvalue
    assert p > 1e-4  # the chance that right draws fail here, once for all, as the seed is fixed


def test_streams_do_not_follow_one_another():
    n = 40_000
    law = Draw("uniform", 0, 1)
    u = np.array([drawn(law, seed, name, 0, n) for seed in (0, 1) for name in ("online", "predictor")])
    u = np.vstack([u, np.roll(u[0], BLOCK)])  # blocks differ, too
    # correlations of independent rows have deviation 1/√n
    assert np.max(np.abs(np.corrcoef(u) - np.eye(5))) < 4.5 / np.sqrt(n)


def test_a_normal_draw_may_be_anything_unless_it_has_no_deviation():
    assert Draw("normal", 0, 1).ends == (-np.inf, np.inf)
    assert Draw("normal", 2, 0).ends == (2, 2)


def test_what_is_sent_to_a_worker_is_small_and_whole():
    made = design(modes({"samples": 2}, online={"linspace": [0, 1, 1_000_000]}, target={"normal": [0, 1]}))
    copy = pickle.loads(pickle.dumps(made))
    assert len(pickle.dumps(made)) < 10_000
    assert copy.identity == made.identity
    assert_array_equal(copy.columns(11, 17)["target"], made.columns(11, 17)["target"])


def test_the_identity_is_plain_and_sees_every_change():
    plain = design(modes(online={"values": [1, 2]})).identity
    assert json.loads(json.dumps(plain)) == plain
    others = [
        modes(online={"values": [1, 3]}),
        modes({"seed": 1}, online={"values": [1, 2]}),
        modes({"samples": 1}, online={"values": [1, 2]}),
        modes({"settings": {"rtol": 1e-7}}, online={"values": [1, 2]}),
        modes(online=1),
    ]
    assert all(design(other).identity != plain for other in others)
    assert design(modes({"chunk": 7}, online={"values": [1, 2]})).identity == plain


def test_axes_keep_the_order_of_the_spec():
    first = design(modes(online={"values": [1, 2]}, target={"values": [3, 4]}))
    second = design(modes(target={"values": [3, 4]}, online={"values": [1, 2]}))
    assert first.dims == second.dims[::-1]
    assert first.identity != second.identity


def test_every_kind_describes_what_it_gives():
    for name, table in {"modes": modes(), "matrices": matrices(dim=2, t_end=1)}.items():
        made = design(table)
        results = made.compute((0, 1))
        assert list(results) == [*made.draws, *made.outputs]
        for output in made.outputs:
            described = made.outputs[output]
            assert results[output].dtype == described.dtype, (name, output)
            assert results[output].shape == (1, *(length for _, length in described.dims)), (name, output)
            assert described.meaning
    assert set(KINDS) == {"modes", "matrices"}


def test_a_block_is_drawn_from_its_own_count_of_the_generator() -> None:
    """Documented: block k holds draws of Philox with key (seed, CRC-32 of the name) from count k 2⁶⁴ on."""
    import zlib

    from analysis.sweeps.design import BLOCK, Draw, drawn

    key = np.array([7, zlib.crc32(b"online")], np.uint64)
    block = np.random.Generator(np.random.Philox(key=key, counter=3 << 64)).normal(0, 1, BLOCK)
    np.testing.assert_array_equal(
        drawn(Draw("normal", 0, 1), 7, "online", 3 * BLOCK, 3 * BLOCK + 5), block[:5]
    )
