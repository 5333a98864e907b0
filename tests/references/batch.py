"""Hand one map of one image at a time to a reference."""

import numpy as np
import torch


def each_map(function, cam, layers, *values):
    """Stack ``function(map, layers of its image, *its values)`` over (B,) or (B, K).

    Each of ``values`` is a number or a tensor of the CAM's batch shape.
    """
    values = [np.broadcast_to(np.asarray(v), cam.shape[:-2]) for v in values]
    results = []
    for index in np.ndindex(*cam.shape[:-2]):
        image = [layer[index[0]].numpy() for layer in layers]
        results.append(function(cam[index].numpy(), image, *(v[index] for v in values)))
    return torch.from_numpy(np.stack(results)).unflatten(0, cam.shape[:-2])
