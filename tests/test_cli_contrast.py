"""`dyn contrast`: what each objective learns, its JSON keys, and what it refuses."""

from __future__ import annotations

import pytest
from conftest import report_of

TWO = ("--lambda-s", "10", "--lambda-d", "5", "--lambda-s", "1", "--lambda-d", ".9", "--dim", "1")


@pytest.mark.parametrize(
    ("given", "modes", "amplitude"),
    [
        (("--objective", "infonce", "--temperature", "1", "--negatives", "inf"), [1], 4.8541020),
        (("--negatives", "1"), [1], 4.6153846),
        (("--objective", "triplet"), [1], 4.6153846),
        (("--objective", "simple"), [0], None),
    ],
)
def test_what_is_learned(dyn, given, modes, amplitude):
    report = report_of(dyn, "contrast", *TWO, *given)
    assert report["learned"]["modes"] == modes
    (found,) = report["learned"]["amplitudes"]
    assert found is None if amplitude is None else abs(found - amplitude) < 5e-8
    assert set(report["growth"]) >= {"bound", "blow_up_time"}
    assert set(report["critical_points"][0]) == {"modes", "amplitudes", "stability", "loss"}
    assert dyn("contrast", *TWO, *given)[0] == 0


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("--temperature", "0"), "--temperature must be finite and > 0"),
        (("--temperature", "-1"), "--temperature"),
        (("--negatives", "0"), "--negatives"),
        (("--negatives", "1.5"), "--negatives"),
        (("--dim", "0"), "--dim"),
        (("--objective", "simple", "--temperature", "1"), "--temperature must go with --objective"),
        (("--objective", "simple", "--negatives", "2"), "--negatives must go with --objective"),
        (("--negatives", "2", "--dim", "2"), "--negatives must be 1 or inf for several rows"),
        (("--negatives", "1", "--weight-decay", ".1"), "--weight-decay must be 0"),
        (("--lambda-s", "1", "--lambda-d", "2"), "--lambda-d must be >= 0 and <= λs"),
    ],
)
def test_bad_input_is_refused_by_name(dyn, given, named):
    code, out, err = dyn("contrast", *TWO, *given)
    assert (code, out) == (2, "")
    assert named in err
