"""Numba's CUDA, beside a NumPy that is newer than it: import `cuda` from here.

NVIDIA's numba-cuda, which compiles for GPUs, is kept as it is and does not follow NumPy any more: version 0.30 asks for
`numpy.row_stack`, the old name of `vstack`, which NumPy 2.5 has dropped. It is lent that name while it is imported.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numba import config

SIMULATED: bool = config.ENABLE_CUDASIM  # type: ignore[attr-defined]
"""Whether kernels run as Python threads, for want of a GPU: NUMBA_ENABLE_CUDASIM=1."""
_DROPPED = "row_stack"

cuda: Any = import_module("numba.cuda")
INSTALLED = SIMULATED or "numba_cuda" in Path(cuda.__file__).parts
"""Whether kernels can be compiled or simulated. The CUDA that comes with Numba itself cannot compile them."""

if INSTALLED and not SIMULATED and not hasattr(np, _DROPPED):
    vars(np)[_DROPPED] = np.vstack
    try:
        import_module("numba.cuda.np.arrayobj")  # which the first kernel would import
    finally:
        del vars(np)[_DROPPED]
