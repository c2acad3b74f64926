"""`dyn tree`: ceilings, layer traces and lucky units, their JSON keys, files of trees, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import report_of


def test_a_complete_tree(dyn):
    report = report_of(dyn, "tree", "--branching", "2", "--height", "5", "--polarity", ".85")
    assert report["nodes"] == 63
    assert [round(c, 4) for c in report["ceiling"]["linear_by_depth"]] == [
        0.9159,
        0.8688,
        0.8401,
        0.8218,
        0.8099,
    ]
    assert report["ceiling"]["linear"] == report["ceiling"]["linear_by_depth"][-1]
    assert report["ceiling"]["bayes"] > report["ceiling"]["linear"]
    assert report["ceiling"]["standard_error"] == 0
    np.testing.assert_allclose(report["layer_trace"], 0.25 * (2 * 0.85**2) ** np.arange(6), rtol=1e-13)
    # n factors of a path, and (1 ± ρ)/2, round once each
    np.testing.assert_allclose(report["path_polarity"][-1], 0.85**5, rtol=1e-14)
    assert report["lucky"]["probability"] == 0.25
    assert report["lucky"]["nodes_needed"] == 11


def test_one_polarity_per_level_and_units(dyn):
    report = report_of(
        dyn, "tree", "--height", "2", "--polarity", "9/10,1/2", "--units-per-latent", "11", "--branching", "3"
    )
    assert report["nodes"] == 13
    np.testing.assert_allclose(report["path_polarity"][1:4], 0.9, rtol=1e-15)
    np.testing.assert_allclose(report["path_polarity"][4:], 0.45, rtol=1e-15)
    assert pytest.approx(report["lucky"]["probability"], rel=1e-14) == 1 - 0.75**11
    assert report["lucky"]["probability"] >= 0.95


def test_drawn_polarities_are_those_of_the_seed(dyn):
    drawn = [
        report_of(dyn, "tree", "--height", "3", "--polarity-range", ".7", "1", "--seed", seed)
        for seed in "334"
    ]
    assert drawn[0]["path_polarity"] == drawn[1]["path_polarity"] != drawn[2]["path_polarity"]
    assert min(drawn[0]["path_polarity"]) >= 0.7**3


def test_a_tree_from_a_file_is_the_complete_one(dyn, tmp_path):
    file = tmp_path / "tree.json"
    file.write_text(json.dumps({"parents": [-1, 0, 0], "polarities": [None, 0.5, 0.5]}))
    report = report_of(dyn, "tree", "--tree", str(file))
    other = report_of(dyn, "tree", "--height", "1", "--polarity", ".5")
    del report["seconds"], other["seconds"]
    assert report == other


def test_a_tree_with_three_states_has_no_polarity(dyn, tmp_path):
    file = tmp_path / "tree.json"
    kernels = [None, [[0.5, 0.25, 0.25], [0, 0.5, 0.5]]]
    file.write_text(json.dumps({"parents": [-1, 0], "kernels": kernels, "root_law": [0.5, 0.5]}))
    report = report_of(dyn, "tree", "--tree", str(file))
    assert (report["path_polarity"], report["layer_trace"], report["ceiling"]["linear"]) == (None, None, None)
    # the posterior is 0 with probability 1/4 and 2/3 otherwise: variance 1/12 of 1/4
    assert abs(report["ceiling"]["bayes"] - 3**-0.5) < 5 * report["ceiling"]["standard_error"]
    code, out, err = dyn("tree", "--tree", str(file))
    assert code == 0
    assert "binary variables only" in err
    assert "–" in out


def test_saved_files_hold_the_report(dyn, tmp_path):
    arguments = ("tree", "--height", "3", "--out", str(tmp_path / "t.npz"), "--plot", str(tmp_path / "t.png"))
    report = report_of(dyn, *arguments)
    with np.load(tmp_path / "t.npz") as saved:
        assert saved["layer_trace"].tolist() == report["layer_trace"]
        assert saved["linear_ceiling"].tolist() == report["ceiling"]["linear_by_depth"]
        assert saved["bayes_ceiling"].tolist() == report["ceiling"]["bayes_by_depth"]
    assert (tmp_path / "t.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("--polarity", "2"), "--polarity must be in [-1, 1]"),
        (("--polarity", "nan"), "--polarity must be in [-1, 1]"),
        (("--polarity", "x"), "--polarity"),
        (("--polarity", ".5,.5", "--height", "3"), "3 numbers (one per level)"),
        (("--branching", "0"), "'--branching': must be an integer >= 1"),
        (("--height", "0"), "'--height': must be an integer >= 1"),
        (("--height", "60"), "--height must leave a tree of at most"),
        (("--units-per-latent", "0"), "--units-per-latent"),
        (("--polarity-range", ".9", ".7"), "--polarity-range must be LOW <= HIGH"),
        (
            ("--polarity-range", ".9", "1", "--polarity", ".5"),
            "--polarity must be left out where --polarity-range draws it",
        ),
        (("--tree", "no.json"), "no.json"),
    ],
)
def test_bad_input_is_refused_by_name(dyn, given, named):
    code, out, err = dyn("tree", *given)
    assert (code, out) == (2, "")
    assert named in err
    assert len(err.strip().splitlines()) == 1


P = [[0.5, 0.5], [0.25, 0.75]]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "must hold a JSON object"),
        ([1], "a tree must be a JSON object, got list"),
        ({"parents": [-1, 0], "polarities": [None, 0.5], "law": 1}, "keys must be among"),
        ({"parents": [-1, 0]}, "either kernels or polarities"),
        ({"parents": [-1, 0.0], "polarities": [None, 0.5]}, "parents must be a list of whole numbers"),
        ({"parents": [-1, 0], "polarities": [None]}, "polarities must be a list of 2 entries"),
        ({"parents": [-1, 0], "polarities": [None, 2]}, "polarities must be numbers in [-1, 1]"),
        ({"parents": [-1, 0], "polarities": [None, None]}, "polarities must be numbers in [-1, 1]"),
        ({"parents": [-1, 2, 1], "polarities": [None, 0.5, 0.5]}, "2 nodes on or below a cycle"),
        ({"parents": [-1, -1], "polarities": [None, None]}, "must have -1 once"),
        ({"parents": [-1, 5], "polarities": [None, 0.5]}, "parents must be numbers of nodes"),
        ({"parents": [], "polarities": []}, "parents must be whole numbers"),
        ({"parents": [-1, 0], "kernels": [None, P]}, "root_law must be a list"),
        (
            {"parents": [-1, 0], "kernels": [None, P], "root_law": [0.5, 0.6]},
            "root_law must be probabilities",
        ),
        (
            {"parents": [-1, 0], "kernels": [None], "root_law": [0.5, 0.5]},
            "kernels must be one per node, 2, got 1",
        ),
        ({"parents": [-1, 0], "kernels": 3, "root_law": [0.5, 0.5]}, "kernels must be a list"),
        ({"parents": [-1, 0], "kernels": [None, "a"], "root_law": [0.5, 0.5]}, "kernels must be matrices"),
        (
            {"parents": [-1, 0], "kernels": [None, [[1.0]]], "root_law": [0.5, 0.5]},
            "one row per state of the parent",
        ),
        (
            {"parents": [-1, 0], "kernels": [None, [[0.5, 0.4], [0, 1]]], "root_law": [0.5, 0.5]},
            "that sum to 1",
        ),
        ({"parents": [-1], "kernels": [None], "root_law": [0.5, 0.5]}, "at least one edge"),
    ],
)
def test_a_malformed_file_is_one_sentence(dyn, tmp_path, content, named):
    file = tmp_path / "tree.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    code, out, err = dyn("tree", "--tree", str(file))
    assert (code, out) == (2, "")
    assert named in err
    assert len(err.strip().splitlines()) == 1


def test_a_file_leaves_no_room_for_other_options(dyn, tmp_path):
    file = tmp_path / "tree.json"
    file.write_text(json.dumps({"parents": [-1, 0], "polarities": [None, 0.5]}))
    code, _, err = dyn("tree", "--tree", str(file), "--height", "3")
    assert code == 2
    assert "--height must be left out with --tree" in err


def test_a_flow_on_a_tree_has_the_linear_ceiling_as_its_ratio(dyn):
    flow = report_of(dyn, "simulate", "--data", "tree:height=3:polarity=.8", "--dim", "1", "--t-end", "1")
    ceiling = report_of(dyn, "tree", "--height", "3", "--polarity", ".8")["ceiling"]["linear"]
    assert flow["theory"]["ratios"][0] == pytest.approx(ceiling**2, rel=1e-12)


def test_training_on_a_tree_needs_no_augmentation(dyn):
    report = report_of(dyn, "train", "--data", "tree:height=3:n=200", "--steps", "5")
    assert report["steps"] == 5


@pytest.mark.parametrize("command", [("simulate", "--dim", "1"), ("train", "--steps", "5")])
def test_a_bad_tree_of_data_is_one_sentence(dyn, command):
    code, out, err = dyn(*command, "--data", "tree:polarity=2")
    assert (code, out) == (2, "")
    assert "polarity of tree must be a number in [-1, 1], got '2'" in err
    assert len(err.strip().splitlines()) == 1
