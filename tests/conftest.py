import functools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
# Of the same code the same examples, so that a failure can be had again; "search" looks further.
settings.register_profile("dev", max_examples=25, derandomize=True, **COMMON)
settings.register_profile("search", max_examples=200, print_blob=True, **COMMON)
settings.load_profile(os.getenv("HYPOTHESIS_PROFILE", "dev"))

# Tensors of tests are small: a second thread waits longer than it works, and takes the core of
# another worker.
torch.set_num_threads(1)

DEVICES = [
    "cpu",
    *([pytest.param("cuda", marks=pytest.mark.cuda)] if torch.cuda.is_available() else []),
]


@pytest.fixture(params=DEVICES)
def device(request):
    return torch.device(request.param)


@functools.cache
def _arrays(name):
    with np.load(Path(__file__).parent / "golden" / f"{name}.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="session")
def golden():
    """``golden(name)`` or ``golden(name, case)``: arrays that the papers' released code produced."""

    def arrays(name, case=None):
        found = _arrays(name)
        if case is None:
            return found
        prefix = f"{case}__"
        return {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}

    return arrays
