"""What every function of a CAM and features refuses, in the same words."""

import re

import pytest
import torch

from wsolrefine import label_spreading, ncut, pc1, scg, scg_released, sem

CAM, FEATURES = torch.rand(2, 7, 5), torch.rand(2, 8, 7, 5)
OTHERS = torch.ones(3, 8, 7, 5)
WRONG = [
    (
        {"cam": torch.ones(2, 4)},
        ValueError,
        "cam: expected shape (B, H, W) or (B, K, H, W), got (2, 4)",
    ),
    ({"cam": [[1.0]]}, TypeError, "cam: expected a torch.Tensor, got list"),
    ({"cam": None}, TypeError, "cam: expected a torch.Tensor, got None"),
    ({"cam": CAM.long()}, TypeError, "cam: expected a floating-point dtype, got torch.int64"),
    ({"cam": CAM.int()}, TypeError, "cam: expected a floating-point dtype, got torch.int32"),
    (
        {"features": FEATURES.half()},
        TypeError,
        "features: expected torch.float32 as cam, got torch.float16",
    ),
    (
        {"features": OTHERS},
        ValueError,
        "features: expected shape (B, C, h, w) with B=2 from cam, got (3, 8, 7, 5)",
    ),
    (
        {"features": [FEATURES, OTHERS]},
        ValueError,
        "features[1]: expected shape (B, C, h, w) with B=2 from cam, got (3, 8, 7, 5)",
    ),
    (
        {"features": CAM},
        ValueError,
        "features: expected shape (B, C, h, w), got (2, 7, 5); tokens (B, N, C) become maps by"
        " tokens_to_map, maps (C, h, w) of one image a batch by features[None]",
    ),
    (
        {"features": [CAM]},
        ValueError,
        "features[0]: expected shape (B, C, h, w), got (2, 7, 5); tokens (B, N, C) become maps by"
        " tokens_to_map, maps (C, h, w) of one image a batch by features[0][None]",
    ),
    (
        {"features": torch.rand(2, 7, 5, 96)},
        ValueError,
        "features: expected shape (B, C, h, w) with a grid of the same image as cam (7, 5), got"
        " (2, 7, 5, 96), which looks like channels last: use tokens_to_map(features) or"
        " features.permute(0, 3, 1, 2)",
    ),
    (
        {"features": [FEATURES, torch.rand(2, 1, 36, 96)]},
        ValueError,
        "features[1]: expected shape (B, C, h, w) with a grid of the same image as cam (7, 5), got"
        " (2, 1, 36, 96), which looks like 36 tokens: use tokens_to_map(tokens,"
        " num_prefix_tokens=1) of tokens (B, N, C)",
    ),
    ({"features": []}, ValueError, "features: expected at least one tensor, got []"),
    ({"features": FEATURES.to("meta")}, ValueError, "features: expected cpu as cam, got meta"),
]


@pytest.mark.parametrize("function", [label_spreading, ncut, pc1, scg, scg_released, sem])
@pytest.mark.parametrize(("change", "error", "message"), WRONG)
def test_a_wrong_cam_or_wrong_features(function, change, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        function(**{"cam": CAM, "features": FEATURES, **change})
