"""Run lengths of enlarged masks next to those of the pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from wsolrefine import union_box
from wsolrefine.localization.masks import enlarge_labels
from wsolrefine.localization.run_lengths import region, run_lengths

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

MASKS = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9))


def enlarged(mask, size):
    return enlarge_labels(torch.from_numpy(mask).byte()[None, None], size)[0, 0].numpy() > 0


@given(mask=MASKS, more=st.tuples(st.integers(0, 23), st.integers(0, 23)))
def test_they_are_those_of_the_enlarged_mask(mask, more):
    size = mask.shape[0] + more[0], mask.shape[1] + more[1]
    large = enlarged(mask, size)
    runs = coco_mask.encode(np.asfortranarray(large, np.uint8))
    found = region(mask, size)
    if not mask.any():
        assert found is None
        assert run_lengths(mask, size) == [size[0] * size[1]]
        return
    assert found.counts == runs["counts"].decode()
    assert found.area == large.sum()
    assert list(found.box) == union_box(torch.from_numpy(large)[None])[0].tolist()


def test_a_large_image():
    mask = np.add.outer((np.arange(768) - 300) ** 2, (np.arange(1024) - 500) ** 2) < 200**2
    found = region(mask, (3000, 4000))
    large = enlarged(mask, (3000, 4000))
    runs = coco_mask.encode(np.asfortranarray(large, np.uint8))
    assert found.counts == runs["counts"].decode()
    assert found.area == large.sum()
