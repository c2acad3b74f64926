"""Mutation testing: change one token of the program at a time, and see whether a test notices.

`make mutants N=300` draws N mutants from all layers, runs for each the tests that execute the changed line, and writes
the survivors with their diffs to out/mutants/survivors.diff. Runs resume: what is in out/mutants/results.jsonl is not
run again. Mutants that change nothing that a test could see are listed with their reason in
tests/equivalent_mutants.toml.

The module is a pytest plugin too: it records which test executes which line, and picks the tests of a mutant.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import io
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tokenize
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("dynamics", "analysis", "figures", "face", "commands")
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.toml")

OPERATORS = {
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "==": "!=",
    "!=": "==",
    "+": "-",
    "-": "+",
    "*": "/",
    "/": "*",
    "//": "*",
    "**": "*",
    "&": "|",
    "|": "&",
    "and": "or",
    "or": "and",
    "in": "not in",
    "is": "is not",
}
_OPPOSITES = (
    "min max",
    "minimum maximum",
    "argmin argmax",
    "nanmin nanmax",
    "any all",
    "floor ceil",
    "zeros ones",
    "zeros_like ones_like",
    "sin cos",
    "round int",
    "online target",
    "sigma_s sigma_d",
    "lambda_s lambda_d",
    "tau_online tau_predictor",
)
NAMES = {a: b for pair in _OPPOSITES for a, b in (pair.split(), pair.split()[::-1])}
COSMETIC = frozenset({"strict", "frozen", "eq", "repr", "slots", "stacklevel"})
"""Keywords that guard against programming errors or only shape a class."""

OWN_PROCESS = ("run_dyn",)
"""Fixtures of tests that start the installed command, which is not the mutated copy."""
LEFT_OUT = ("test_readme.py", "test_architecture.py")


class Mutant(NamedTuple):
    """Source of `path` with the characters from `start` to `stop` replaced."""

    path: str
    line: int
    start: int
    stop: int
    old: str
    new: str
    code: str

    @property
    def key(self) -> str:
        """Name that stays the same while the line does."""
        return hashlib.sha1(
            repr((self.path, self.start, self.old, self.new, self.code)).encode()
        ).hexdigest()[:12]

    def applied(self, source: str) -> str:
        """Return the mutated source."""
        return source[: self.start] + self.new + source[self.stop :]

    def diff(self, source: str) -> str:
        """Return the unified diff that makes the mutant."""
        lines = (text.splitlines(keepends=True) for text in (source, self.applied(source)))
        return "".join(difflib.unified_diff(*lines, f"a/{self.path}", f"b/{self.path}", n=1))


# --- making mutants -----------------------------------------------------------------------------------------


class _Source:
    """A module's text, tokens and tree, with positions of the tree as offsets into the text."""

    def __init__(self, text: str):
        self.text, self.lines = text, text.splitlines(keepends=True)
        self.starts = [0, *itertools.accumulate(map(len, self.lines))]
        self.tree = ast.parse(text)
        self.tokens = [
            (self.starts[t.start[0] - 1] + t.start[1], self.starts[t.end[0] - 1] + t.end[1], t.string)
            for t in tokenize.generate_tokens(io.StringIO(text).readline)
            if t.type in (tokenize.OP, tokenize.NAME)
        ]

    def offset(self, line: int, byte: int) -> int:
        """Offset of a position of the tree, whose columns count bytes."""
        return self.starts[line - 1] + len(self.lines[line - 1].encode()[:byte].decode())

    def span(self, node: Any) -> tuple[int, int]:
        """First and last offset of a node."""
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def operator(self, begin: int, end: int) -> tuple[int, int, str] | None:
        """Return the first operator between two operands, brackets apart."""
        for start, stop, text in self.tokens:
            if begin <= start and stop <= end and text not in "()":
                return start, stop, text
        return None


def _skipped(node: ast.AST) -> Iterator[ast.AST | None]:
    """Children that say nothing about what the program does: annotations, texts of messages, cosmetic keywords."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        yield node.returns
    if isinstance(node, (ast.arg, ast.AnnAssign)):
        yield node.annotation
    if isinstance(node, ast.Raise | ast.JoinedStr):
        yield from ast.iter_child_nodes(node)
    if isinstance(node, ast.Call):
        yield from (keyword for keyword in node.keywords if keyword.arg in COSMETIC)
    if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "__all__" for t in node.targets):
        yield node.value


def _number(value: complex) -> str | None:
    if isinstance(value, bool):
        return str(not value)
    if isinstance(value, int):
        return str(value + 1)
    if isinstance(value, float):
        return repr(1.0 if value == 0 else value * 100 if abs(value) < 0.02 else value * 2)
    return None


def _changes(node: ast.AST, source: _Source) -> Iterator[tuple[int, int, str]]:
    """Yield (first offset, last offset, new text) of every one-token change of a node."""
    match node:
        case ast.BinOp(left=left, right=right):
            if found := source.operator(source.span(left)[1], source.span(right)[0]):
                start, stop, text = found
                if text in OPERATORS:
                    yield start, stop, OPERATORS[text]
                if text in ("+", "-"):  # the second term dropped
                    yield (
                        source.span(left)[1],
                        source.span(node)[1],
                        ")" * source.text[source.span(left)[1] : source.span(right)[0]].count(")"),
                    )
                if text == "**" and isinstance(right, ast.Constant) and right.value == 2:
                    yield start, source.span(right)[1], ""
        case ast.Compare(left=left, comparators=comparators):
            ends = [left, *comparators]
            for a, b in itertools.pairwise(ends):
                found = source.operator(source.span(a)[1], source.span(b)[0])
                if found and found[2] in OPERATORS and source.text[found[1] :].split(maxsplit=1)[0] != "not":
                    yield found[0], found[1], OPERATORS[found[2]]
        case ast.BoolOp(values=values):
            for a, b in itertools.pairwise(values):
                if found := source.operator(source.span(a)[1], source.span(b)[0]):
                    yield found[0], found[1], OPERATORS[found[2]]
        case ast.UnaryOp(operand=operand):
            yield source.span(node)[0], source.span(operand)[0], ""
        case ast.Constant(value=value) if not isinstance(value, (str, bytes, complex)) or isinstance(
            value, bool
        ):
            if new := _number(value) if value is not None and value is not Ellipsis else None:
                yield *source.span(node), new
        case ast.Name(id=name, ctx=ast.Load()) if name in NAMES:
            yield *source.span(node), NAMES[name]
        case ast.Attribute(attr=name, ctx=ast.Load()) if name in NAMES:
            stop = source.span(node)[1]
            yield stop - len(name), stop, NAMES[name]
        case ast.Attribute(attr="T" | "mT", ctx=ast.Load(), value=value):
            yield source.span(value)[1], source.span(node)[1], ""
        case _:
            return


def mutants_of(path: str, text: str) -> list[Mutant]:
    """All one-token changes of a module, in the order of the text.

    >>> [(m.old, m.new) for m in mutants_of("m.py", "def f(x, y):\\n    return min(x, 2.0) <= y\\n")]
    [('min', 'max'), ('2.0', '4.0'), ('<=', '<')]
    """
    source, found = _Source(text), set()
    pending: list[ast.AST] = [source.tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'"):
            continue
        skipped = {id(child) for child in _skipped(node)}
        pending += [child for child in ast.iter_child_nodes(node) if id(child) not in skipped]
        found |= set(_changes(node, source))
    return [
        Mutant(
            path,
            line := text.count("\n", 0, start) + 1,
            start,
            stop,
            text[start:stop],
            new,
            source.lines[line - 1].strip(),
        )
        for start, stop, new in sorted(found)
    ]


def _is_taste(mutant: Mutant) -> bool:
    """Whether it is a size, a strength or a place of a figure: its decimal fractions are not true or false."""
    return mutant.path.startswith("figures/") and re.fullmatch(r"[\d.e-]*\.[\d.e-]*", mutant.old) is not None


def changes_the_program(mutant: Mutant, text: str) -> bool:
    """Whether the mutant is a program, and another one: brackets may be cut through, and −0 is 0."""
    try:
        return ast.dump(ast.parse(mutant.applied(text))) != ast.dump(ast.parse(text))
    except SyntaxError:
        return False


def drawn_mutants(root: Path, n: int, seed: int, only: str = "") -> list[Mutant]:
    """Draw n mutants of all layers, without those of the table of equivalent ones."""
    paths = sorted(path for layer in LAYERS for path in (root / layer).rglob("*.py"))
    texts = {str(path.relative_to(root)): path.read_text("utf-8") for path in paths}
    mutants = [m for path, text in texts.items() for m in mutants_of(path, text)]
    mutants = [m for m in mutants if re.search(only, f"{m.path}:{m.line}") and not _is_taste(m)]
    equivalents, drawn = Equivalents(), []
    for mutant in random.Random(seed).sample(mutants, len(mutants)):
        if len(drawn) == n:
            break
        if equivalents.reason(mutant) is None and changes_the_program(mutant, texts[mutant.path]):
            drawn.append(mutant)
    return drawn


class Equivalents:
    """The table of mutants that change nothing that a test could see, by file, line and change."""

    def __init__(self, path: Path = EQUIVALENT):
        rows = tomllib.loads(path.read_text("utf-8"))["mutant"] if path.exists() else []
        self.reasons = {(row["path"], row["code"], row["old"], row["new"]): row["reason"] for row in rows}

    def reason(self, mutant: Mutant) -> str | None:
        """Return why the mutant is equivalent, None where it is not."""
        return self.reasons.get((mutant.path, mutant.code, mutant.old, mutant.new))


# --- which tests see a line ---------------------------------------------------------------------------------


class CoverageMap:
    """Tests that execute each line, and how long each takes."""

    def __init__(self, path: Path):
        held = json.loads(path.read_text("utf-8"))
        self.tests: list[str] = held["tests"]
        self.seconds: list[float] = held["seconds"]
        self.lines: dict[str, dict[str, list[int]]] = held["lines"]

    def of(self, mutant: Mutant, text: str) -> list[str]:
        """Return the tests that see a mutant, those that are named after its module first, then the quick ones."""
        seen = self._on(mutant.path, _statement_lines(text, mutant.line)) or self._of_names(mutant, text)
        topic = Path(mutant.path).stem

        def rank(test: int) -> tuple[bool, float]:
            return topic not in self.tests[test].split("::")[0], self.seconds[test]

        return [self.tests[test] for test in sorted(seen, key=rank)]

    def _on(self, path: str, lines: Iterator[int] | range) -> set[int]:
        held = self.lines.get(path, {})
        return {test for line in lines for test in held.get(str(line), ())}

    def _of_names(self, mutant: Mutant, text: str) -> set[int]:
        """Tests of what runs at import: of the function whose head it is, or of all lines that use the names."""
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                if first <= mutant.line < node.body[0].lineno:
                    return self._on(mutant.path, range(node.body[0].lineno, (node.end_lineno or 0) + 1))
        names = [
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            and node.lineno <= mutant.line <= (node.end_lineno or 0)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        ]
        if names:
            pattern = re.compile(rf"\b({'|'.join(names)})\b")
            users = set()
            for path in self.lines:
                lines = (ROOT / path).read_text("utf-8").splitlines()
                users |= self._on(path, [k for k, line in enumerate(lines, 1) if pattern.search(line)])
            if users:
                return users
        return self._on(mutant.path, range(1, text.count("\n") + 2))

    def predicted(self, tests: list[str]) -> float:
        """Seconds that the tests take on the unchanged program."""
        known = dict(zip(self.tests, self.seconds, strict=True))
        return sum(known[test] for test in tests)

    def within(self, tests: list[str], seconds: float) -> list[str]:
        """Return the tests, in order, until their time is spent; at least one."""
        known = dict(zip(self.tests, self.seconds, strict=True))
        spent = itertools.accumulate(known[test] for test in tests)
        return [
            test
            for k, (test, total) in enumerate(zip(tests, spent, strict=True))
            if k == 0 or total <= seconds
        ]


def _statement_lines(text: str, line: int) -> range:
    """Lines of the innermost statement at a line; of a compound statement, those of its head."""
    best = range(line, line + 1)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
            body = getattr(node, "body", None)
            stop = body[0].lineno if body else (node.end_lineno or 0) + 1
            if line < stop and not isinstance(node, ast.FunctionDef | ast.ClassDef):
                best = range(node.lineno, max(stop, node.lineno + 1))
    return best


# --- the plugin ---------------------------------------------------------------------------------------------


def _wanted(item: pytest.Item) -> bool:
    fixtures = getattr(item, "fixturenames", ())
    return item.path.name not in LEFT_OUT and not any(name in fixtures for name in OWN_PROCESS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests that a mutant asks for, in its order; without a mutant, those that run in this process."""
    chosen = os.environ.get("MUTANT_TESTS")
    if chosen:
        order = {test: k for k, test in enumerate(json.loads(Path(chosen).read_text("utf-8")))}
        items[:] = sorted(
            (item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid]
        )
    elif "MUTANT_MAP" in os.environ:
        items[:] = [item for item in items if _wanted(item)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Any:
    """While the map is made, put down lines under the name of the test that runs."""
    if _MEASURING:
        _MEASURING[0].switch_context(item.nodeid)
    done = yield
    if _MEASURING:
        _MEASURING[0].switch_context("")
    return done


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """While the map is made, keep the time and outcome of every test."""
    if _MEASURING:
        _TIMES[report.nodeid] += report.duration
        _PASSED[report.nodeid] = _PASSED.get(report.nodeid, True) and report.passed


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what this process has measured."""
    if not _MEASURING:
        return
    measured = _MEASURING[0]
    measured.stop()
    data, root = measured.get_data(), Path.cwd()
    lines: dict[str, dict[int, list[str]]] = {}
    for file in data.measured_files():
        path = os.path.relpath(file, root)
        contexts = data.contexts_by_lineno(file)
        lines[path] = {line: [test for test in tests if test] for line, tests in contexts.items()}
    held = {"seconds": _TIMES, "passed": _PASSED, "lines": lines}
    name = os.environ.get("PYTEST_XDIST_WORKER", "main")
    Path(os.environ["MUTANT_MAP"], f"part-{name}.json").write_text(json.dumps(held), "utf-8")


_MEASURING: list[Any] = []
_TIMES: dict[str, float] = defaultdict(float)
_PASSED: dict[str, bool] = {}

if (
    "MUTANT_MAP" in os.environ and "PYTEST_XDIST_WORKER" in os.environ
):  # the process that hands tests out runs none
    import coverage

    _MEASURING.append(coverage.Coverage(data_file=None, source=list(LAYERS), config_file=False))
    _MEASURING[0].start()


# --- running ------------------------------------------------------------------------------------------------


def scratch_copy(folder: Path) -> Path:
    """Copy what git tracks, or would, into a folder of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    shutil.rmtree(folder, ignore_errors=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def _environment(copy: Path, **extra: str) -> dict[str, str]:
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CI"), "1")
    path = os.pathsep.join([str(copy), str(copy / "tests")])
    caches = {"NUMBA_CACHE_DIR": str(copy / ".numba")}
    return os.environ | one | caches | {"PYTHONPATH": path} | extra


def _pytest(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", "-p", "mutants", "--no-header", "--tb=no", *arguments]


def make_map(folder: Path, workers: int) -> Path:
    """Run the suite once and write which test executes which line."""
    target = folder / "coverage.json"
    parts = folder / "parts"
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True)
    copy = scratch_copy(folder / "copy-0")
    environment = _environment(copy, MUTANT_MAP=str(parts.resolve()))
    command = _pytest("-n", str(workers), "--dist", "worksteal", *LAYERS, "tests")
    with (folder / "map.log").open("w") as log:
        subprocess.run(command, cwd=copy, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
    seconds, passed = {}, {}
    held: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for part in parts.glob("part-gw*.json"):
        measured = json.loads(part.read_text("utf-8"))
        seconds |= measured["seconds"]
        passed |= measured["passed"]
        for path, lines in measured["lines"].items():
            for line, tests in lines.items():
                held[path][line] |= set(tests)
    tests = sorted(test for test, good in passed.items() if good)
    number = {test: k for k, test in enumerate(tests)}
    lines = {
        path: {line: sorted(number[t] for t in names if t in number) for line, names in by_line.items()}
        for path, by_line in held.items()
    }
    target.write_text(
        json.dumps({"tests": tests, "seconds": [seconds[t] for t in tests], "lines": lines}), "utf-8"
    )
    return target


def run_mutant(mutant: Mutant, copy: Path, tests: list[str], limit: float) -> str:
    """Run tests on a copy with one mutant in it: "killed", "survived" or "timeout"."""
    path = copy / mutant.path
    original, stat = path.read_bytes(), path.stat()
    chosen = copy / "chosen.json"
    chosen.write_text(json.dumps(tests), "utf-8")
    files = list(dict.fromkeys(test.split("::")[0] for test in tests))
    path.write_text(mutant.applied(original.decode()), "utf-8")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9 * (1 + int(mutant.key, 16) % 10**6)))
    process = subprocess.Popen(
        _pytest("-x", "-p", "no:xdist", "-p", "no:cacheprovider", *files),
        cwd=copy,
        env=_environment(copy, MUTANT_TESTS=str(chosen.resolve()), PYTHONDONTWRITEBYTECODE="1"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return "timeout"
    finally:
        path.write_bytes(original)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return "survived" if code in (0, 5) else "killed"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Change one token at a time and see whether a test notices.")
    parser.add_argument("-n", type=int, default=300, help="number of mutants (300)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample (0)")
    parser.add_argument("--workers", type=int, default=2, help="mutants at a time (2)")
    parser.add_argument("--seconds", type=float, default=30.0, help="time of the tests of one mutant (30)")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "mutants", help="folder (out/mutants)")
    parser.add_argument("--only", default="", help="a regular expression that path:line must match")
    parser.add_argument("--again", action="store_true", help="run survivors of before again")
    parser.add_argument("--map", action="store_true", help="make the map of lines and tests anew")
    return parser.parse_args()


def main() -> int:
    """Draw mutants, run them, and report; exit code 1 if one survives."""
    arguments = _arguments()
    folder: Path = arguments.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.map or not (folder / "coverage.json").exists():
        print("running the suite once, to see which test executes which line", flush=True)
        make_map(folder, arguments.workers)
    coverage_map = CoverageMap(folder / "coverage.json")
    drawn = drawn_mutants(ROOT, arguments.n, arguments.seed, arguments.only)
    log = folder / "results.jsonl"
    results = {}
    for row in map(json.loads, log.read_text("utf-8").splitlines() if log.exists() else ()):
        results[row["key"]] = row["outcome"]
    todo = [m for m in drawn if m.key not in results or (arguments.again and results[m.key] != "killed")]
    print(f"{len(drawn)} mutants drawn, {len(todo)} to run", flush=True)
    copies = [scratch_copy(folder / f"copy-{k}") for k in range(arguments.workers)]
    free = list(copies)

    def judge(mutant: Mutant) -> tuple[Mutant, str]:
        copy = free.pop()
        try:
            tests = coverage_map.of(mutant, (ROOT / mutant.path).read_text("utf-8"))
            tests = coverage_map.within(tests, arguments.seconds)
            if not tests:
                return mutant, "uncovered"
            limit = 30 + 4 * coverage_map.predicted(tests)
            return mutant, run_mutant(mutant, copy, tests, limit)
        finally:
            free.append(copy)

    with ThreadPoolExecutor(arguments.workers) as pool, log.open("a", encoding="utf-8") as sink:
        for done, (mutant, outcome) in enumerate(pool.map(judge, todo), 1):
            results[mutant.key] = outcome
            row = {"key": mutant.key, "outcome": outcome, **mutant._asdict()}
            sink.write(json.dumps(row, ensure_ascii=False) + "\n")
            sink.flush()
            print(
                f"{done}/{len(todo)} {outcome:9} {mutant.path}:{mutant.line} {mutant.old!r} → {mutant.new!r}",
                flush=True,
            )
    left = [m for m in drawn if results[m.key] in ("survived", "uncovered")]
    diffs = [f"# {results[m.key]}\n{m.diff((ROOT / m.path).read_text('utf-8'))}" for m in left]
    (folder / "survivors.diff").write_text("\n".join(diffs), "utf-8")
    counts = Counter(results[m.key] for m in drawn)
    print(
        ", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items())), f"→ {folder / 'survivors.diff'}"
    )
    return 1 if left else 0


if __name__ == "__main__":
    raise SystemExit(main())
