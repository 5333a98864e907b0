"""One Ray for all tests: two cores, and a GPU that is none."""

import contextlib
import logging
import os
from pathlib import Path

import pytest

from wsolrefine.scale.cluster import ENVIRONMENT


@pytest.fixture(scope="session")
def ray_running():
    import ray

    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with contextlib.chdir(Path.cwd().anchor):
        ray.init(
            "local",
            num_cpus=2,
            num_gpus=1,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    yield
    ray.shutdown()
