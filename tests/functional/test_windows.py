"""The neighbors of every pixel: as a view, and as a copy in graphs."""

from unittest import mock

import pytest
import torch

from wsolrefine.functional import _windows


@pytest.mark.parametrize(("radius", "step"), [(0, 1), (1, 1), (2, 1), (1, 3), (1, 4), (1, 1000)])
@pytest.mark.parametrize("shape", [(2, 3, 7, 5), (1, 1, 1, 4), (2, 0, 3, 3), (0, 1, 3, 3)])
def test_a_view_holds_what_a_copy_holds(radius, step, shape):
    maps = torch.rand(shape)
    view = _windows.windows(maps, radius, step)
    with mock.patch.object(_windows, "values_are_hidden", return_value=True):
        assert torch.equal(view, _windows.windows(maps, radius, step))
    height = shape[2]
    for i in range(2 * radius + 1):
        for y in range(height):
            row = min(max(y + (i - radius) * step, 0), height - 1)
            assert torch.equal(view[:, :, i, y, radius], maps[:, :, row, :])
