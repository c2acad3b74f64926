"""What the CUDA kernels of the ensemble integrator compile to: instructions, registers, operations of a try.

It needs Numba's CUDA compiler (`pip install '.[cuda]'`), but no GPU: `python benchmarks/cuda_code.py [--cc 9.0]`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dynamics.integration.cuda_kernels import REGISTERS, cuda_kernels
from dynamics.integration.explicit_pair import TABLEAU
from dynamics.variants import VARIANTS

NAMES = ("check", "begin", "advance", "see_to", "finish")
HOPPER = (9, 0)
_INSTRUCTION = re.compile(r"^\s*(?:@!?%p\d+\s+)?([a-z][\w.]*)\s", re.M)


def form_of(variant: str) -> tuple[int, float, float]:
    row = VARIANTS[variant]
    assert row.kind is not None
    return (row.kind, *row.direct)


def signature(name: str, dtype: str) -> tuple[Any, ...]:
    """Types of the arguments of a kernel, as `dynamics.integration.cuda_ensemble` launches it."""
    from numba import types

    real, index, u32, u8 = getattr(types, dtype), types.int64, types.uint32, types.uint8

    def array(scalar: Any, ndim: int = 1) -> Any:
        return types.Array(scalar, ndim, "C")

    given, stride = types.UniTuple(array(real), 10), types.UniTuple(index, 10)
    control = types.UniTuple(real, 4)
    tableau = types.Tuple([types.UniTuple(real, len(row)) for row in TABLEAU])
    records, lists, tally = array(real, 2), array(u32, 2), array(u32)
    counts = types.UniTuple(array(u32), 2)
    states = array(real), array(types.int32), types.UniTuple(array(real, 2), 3)
    results = types.UniTuple(array(real), 5), array(u8), array(u8), counts
    return {
        "check": (index, given, stride, array(types.int32)),
        "begin": (index, index, given, stride, control, records, lists, tally, counts, *states),
        "advance": (index, index, tableau, control, index, index, records, lists, tally, counts, *states),
        "see_to": (
            *(index, index, given, stride, control, index, index, records, lists, array(u32), tally),
            *(*results, *states),
        ),
        "finish": (
            *(index, given, stride, control, index, index, records, array(u32), tally),
            *(*results, *states),
        ),
    }[name]  # fmt: skip


def ptx(
    name: str, dtype: str, variant: str = "full", saving: bool = False, cc: tuple[int, int] = HOPPER
) -> str:
    """PTX of a kernel for a GPU of compute capability `cc`, which need not be there.

    Raises
    ------
    numba.cuda.cudadrv.error.NvvmSupportError
        NVIDIA's compiler library is not installed.
    """
    cuda: Any = import_module("numba.cuda")
    dispatcher: Any = import_module("numba.cuda.dispatcher")
    # device functions are compiled for "the current device"
    found = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=cc)
    try:
        kernel = getattr(cuda_kernels(form_of(variant), dtype, saving), name)
        code, _ = cuda.compile_ptx(kernel.py_func, signature(name, dtype), cc=cc)
    finally:
        dispatcher.get_current_device = found
    return str(code)


def instructions(code: str) -> list[str]:
    """Opcodes of a piece of PTX, in order."""
    return _INSTRUCTION.findall(code)


def in_double(code: str) -> int:
    """Number of instructions that compute with float64, or convert from or to it."""
    return sum(
        ".f64" in op and op.split(".")[0] not in ("ld", "st", "mov", "selp") for op in instructions(code)
    )


def tried(code: str) -> str:
    """The loop of `advance` that tries a step: the shortest with most of the multiplications in it."""
    labels = {match[1]: match.start() for match in re.finditer(r"^(\$L\w+):", code, re.M)}
    back = [
        code[labels[match[1]] : match.end()]
        for match in re.finditer(r"bra(?:\.uni)?\s+(\$L\w+);", code)
        if labels[match[1]] < match.start()
    ]
    most = max(body.count("fma.rn") for body in back)
    return min((body for body in back if body.count("fma.rn") >= 0.9 * most), key=len)


def flops(code: str, dtype: str) -> int:
    """Floating-point operations of a dtype in a piece of PTX: two for a fused multiply-add, one for + − × and <."""
    suffix = {"float64": ".f64", "float32": ".f32"}[dtype]
    weights = {"fma": 2, "mul": 1, "add": 1, "sub": 1, "neg": 0, "abs": 0, "setp": 1, "min": 1, "max": 1}
    return sum(weights.get(op.split(".")[0], 0) for op in instructions(code) if op.endswith(suffix))


def assembler() -> str | None:
    """NVIDIA's assembler, where it is: on the path, or in the wheel of its compiler."""
    if (found := shutil.which("ptxas")) is not None:
        return found
    for package in ("nvidia.cuda_nvcc", "nvidia.cu13", "nvidia.cu12"):
        if find_spec("nvidia") is not None and (spec := find_spec(package)) is not None:
            for folder in spec.submodule_search_locations or ():
                if (Path(folder) / "bin/ptxas").exists():
                    return str(Path(folder) / "bin/ptxas")
    return None


def registers(code: str, bound: int, cc: tuple[int, int] = HOPPER) -> str:
    """Registers of a thread, and bytes that it spills, in the assembler's words."""
    program = assembler()
    if program is None:
        return "no ptxas here"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(code, encoding="utf-8")
        done = subprocess.run(
            [program, "-v", f"-arch=sm_{cc[0]}{cc[1]}", f"-maxrregcount={bound}", "-o", f"{folder}/kernel", source],
            capture_output=True,
            text=True,
            check=True,
        )  # fmt: skip
    used = re.search(r"Used (\d+) registers", done.stderr)
    spilled = re.findall(r"(\d+) bytes spill stores", done.stderr)
    return f"{used[1] if used else '?'} registers, {max(map(int, spilled), default=0)} bytes spilled"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cc", default="9.0", help="compute capability")
    parser.add_argument("--variant", default="full", choices=sorted(VARIANTS))
    parser.add_argument("--kernel", choices=NAMES, nargs="+", default=NAMES)
    options = parser.parse_args()
    major, minor = (int(part) for part in options.cc.split("."))
    for dtype in ("float64", "float32"):
        for name in options.kernel:
            code = ptx(name, dtype, options.variant, cc=(major, minor))
            bound = REGISTERS[dtype] if name == "advance" else 255
            print(
                f"{dtype} {name}: {in_double(code)} float64 instructions, {registers(code, bound, (major, minor))}"
            )
            if name == "advance":
                print(f"  a try: {flops(tried(code), dtype)} operations in {dtype}")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
