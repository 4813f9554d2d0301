"""What every test stands on: one torch thread, quiet hypothesis, no global random state touched."""

from __future__ import annotations

import os

import hypothesis
import pytest
import threadpoolctl
import torch

torch.set_num_threads(1)  # two workers on two cores: more threads only step on each other
BLAS = threadpoolctl.threadpool_limits(1)  # the same for scikit-learn's and SciPy's

# No deadline: the first call of a function may compile or import. In CI the same examples every time.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run."""
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
