"""The campaign of `benchmarks/campaign_depth.py` in small: no fate of a deep encoder departs from R320."""

from __future__ import annotations

import campaign_depth as campaign
import numpy as np
import pytest

from analysis.depth.fates import deep_fate


@pytest.mark.parametrize("averaged", [True, False])
def test_no_fate_departs(averaged: bool) -> None:
    rng = np.random.default_rng(11)
    decided = collapsed = 0
    for depth in (2, 3, 4):
        for _ in range(60):
            start, system = campaign.draw(rng, depth, 0.7)
            if not averaged:
                start = start._replace(targets=start.layers)
            did = campaign.followed(start, system, averaged=averaged, max_steps=20_000)[0]
            said = deep_fate(start, system).fate[0]
            if did == campaign.UNDECIDED:
                continue
            decided += 1
            collapsed += said == "collapsed"
            assert (did == campaign.COLLAPSED) == (said == "collapsed")
    assert decided == 180  # modes with two small layers crawl, and long steps follow them
    assert 60 < collapsed < decided - 40
