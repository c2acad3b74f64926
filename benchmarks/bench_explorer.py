"""Frames a second that a slider of `dyn explore` reaches in a browser: keys are pressed faster than it can draw.

Needs Debian's chromium and Playwright; without a browser it says so and ends.
"""

from __future__ import annotations

import itertools
import shutil
import statistics
import subprocess
import sys
from typing import Any

from _harness import write_table

from figures.explorer.state import View

CHROMIUM = shutil.which("chromium")
SECONDS = 5.0
BETWEEN_KEYS_MS = 25
CASES = {
    "full flow, plane (w1, w2)": ("lambda_d", View()),
    "full flow, leaf": ("lambda_d", View(plane="leaf")),
    "full flow, weight decay": ("weight_decay", View(weight_decay=0.02)),
    "no average": ("lambda_d", View(variant="no-ema")),
    "DirectSet": ("lambda_d", View(variant="directset", online=0.4)),
    "RAFT with λs′ < 0": ("lambda_d", View(objective="raft", beta=2.0)),
    "steps of gradient descent": ("lambda_d", View(step=0.2)),
}
"""Slider that is moved, and the view it starts from."""

WATCH = """
() => {
    window.stamps = []
    const fate = Bokeh.documents[0].get_model_by_name('fate')  // its text changes with every frame
    fate.properties.text.change.connect(() => requestAnimationFrame(() => window.stamps.push(performance.now())))
}
"""


def main() -> None:
    if CHROMIUM is None:
        print("no chromium: nothing to measure here (apt-get install chromium)")
        return
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "cli", "explore", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as tools:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            rows = [_row(browser, address, name, *case) for name, case in CASES.items()]
        finally:
            browser.close()
            server.terminate()
    write_table("explorer", rows)


def _row(browser: Any, address: str, name: str, slider: str, view: View) -> dict[str, str]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(120_000)
    page.goto(f"{address}?{view.query()}")
    page.wait_for_function(
        "() => window.Bokeh?.documents?.[0]?.get_model_by_name('plane')?.title.text.match(/of \\d+ starts/)"
    )
    page.wait_for_timeout(3000)  # what is made finer afterwards is not to be measured
    handle = page.evaluate_handle(
        "name => Bokeh.index.get_one_by_id(Bokeh.documents[0].get_model_by_name(name).id)"
        ".shadow_el.querySelector('.noUi-handle')",
        slider,
    ).as_element()
    page.evaluate(WATCH)
    handle.focus()
    began = page.evaluate("() => performance.now()")
    key = "ArrowRight"
    while page.evaluate("() => performance.now()") - began < 1e3 * SECONDS:
        for _ in range(20):
            page.keyboard.press(key)
            page.wait_for_timeout(BETWEEN_KEYS_MS)
        key = "ArrowLeft" if key == "ArrowRight" else "ArrowRight"
    stamps = page.evaluate("() => window.stamps")
    page.close()
    gaps = [b - a for a, b in itertools.pairwise(stamps)]
    return {
        "view": name,
        "frames a second": f"{1e3 * (len(stamps) - 1) / (stamps[-1] - stamps[0]):.1f}",
        "median between frames (ms)": f"{statistics.median(gaps):.0f}",
        "slowest of ten (ms)": f"{statistics.quantiles(gaps, n=10)[-1]:.0f}",
    }


if __name__ == "__main__":
    main()
