"""Mean field of a fully connected CRF whose kernels end at a window, pixel pair by pixel pair."""

import numpy as np


def softmax(scores):
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def gaussian(image, radius, position_std, color_std):
    """(C, H, W) -> (N, N), symmetrically normalized, with a diagonal of zeros."""
    _, height, width = image.shape
    pixels = [(y, x) for y in range(height) for x in range(width)]
    kernel = np.zeros((len(pixels), len(pixels)))
    for i, (y, x) in enumerate(pixels):
        for j, (v, u) in enumerate(pixels):
            if abs(y - v) <= radius and abs(x - u) <= radius:
                place = ((y - v) ** 2 + (x - u) ** 2) / (2 * position_std**2)
                color = ((image[:, y, x] - image[:, v, u]) ** 2).sum() / (2 * color_std**2)
                kernel[i, j] = np.exp(-place - color)
    total = kernel.sum(1)
    kernel = kernel / np.sqrt(np.outer(total, total))
    np.fill_diagonal(kernel, 0)
    return kernel


def conv_crf(
    unary,
    image,
    iterations,
    kernel_size,
    appearance_weight,
    appearance_std,
    color_std,
    smoothness_weight,
    smoothness_std,
):
    """(K, H, W), (3, H, W) -> (K, H, W)."""
    radius = kernel_size // 2
    appearance = gaussian(image, radius, appearance_std, color_std)
    smoothness = gaussian(np.zeros_like(image), radius, smoothness_std, 1.0)
    coupling = appearance_weight * appearance + smoothness_weight * smoothness
    scores = unary.reshape(len(unary), -1).T  # (N, K)
    probability = np.stack([softmax(one) for one in scores])
    for _ in range(iterations):
        updated = np.zeros_like(probability)
        for i in range(len(scores)):
            energy = -scores[i]
            for label in range(scores.shape[1]):
                for other in range(scores.shape[1]):
                    if other != label:  # Potts: what disagrees costs
                        energy[label] += coupling[i] @ probability[:, other]
            updated[i] = softmax(-energy)
        probability = updated
    return probability.T.reshape(unary.shape)
