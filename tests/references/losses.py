"""The losses of the papers, one pixel, image or pair at a time."""

import math

import numpy as np


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def softmax(values):
    powers = [math.exp(float(v) - max(map(float, values))) for v in values]
    return np.array(powers) / sum(powers)


def spreads(logit_map):
    """SPA, Eq. 3: the standard deviation over classes of each pixel, (h, w)."""
    result = np.empty(logit_map.shape[1:])
    for i, j in np.ndindex(*result.shape):
        p = softmax(logit_map[:, i, j])
        result[i, j] = math.sqrt(sum((p - p.mean()) ** 2) / len(p))
    return result


def spreads_released(logit_map):
    """SPA's code: unbiased variance over classes, then min-max over the image with its 1e-15."""
    result = np.empty(logit_map.shape[1:])
    for i, j in np.ndindex(*result.shape):
        p = softmax(logit_map[:, i, j])
        result[i, j] = sum((p - p.mean()) ** 2) / (len(p) - 1)
    return (result - result.min()) / (result.max() - result.min() + 1e-15)


def restricted_activation(logit_map, label, spread, threshold, gap):
    """SPA, Eqs 4 and 5, for one image."""
    total = 0.0
    for i, j in np.ndindex(*spread.shape):
        activation = sigmoid(logit_map[label, i, j])
        if spread[i, j] < threshold:
            total += activation
        if spread[i, j] > threshold + gap:
            total += 1 - activation
    return total / spread.size


def entropy(p):
    """ORNet, Eq. 12: the entropy of one pixel."""
    return -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)


def entropy_weight(p, mean, std):
    """ORNet, Eq. 15."""
    return math.exp(-((p - mean) ** 2) / (2 * std**2))


def confseg(auxiliary, cam):
    """CSoA, Eqs 2 to 5, for one image."""
    mu1 = cam.mean()
    mu2 = np.abs(cam - mu1).mean()
    total = 0.0
    for i, j in np.ndindex(*cam.shape):
        if abs(cam[i, j] - mu1) > mu2:
            total += abs(auxiliary[i, j] - cam[i, j])
    return total


def coaug(foreground, background, confident_background, label, gamma, delta):
    """CSoA, Eqs 9 to 12: one value for each pair m < n."""

    def distance(a, b):
        return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))

    values = []
    for m in range(len(label)):
        for n in range(m + 1, len(label)):
            cam = [distance(foreground[i], background[i]) for i in (m, n)]
            back = [distance(background[i], confident_background[i]) for i in (m, n)]
            between = distance(foreground[m], foreground[n])
            if label[m] == label[n]:
                values.append((gamma * sum(back) + between) / (sum(cam) / 2))
            else:
                values.append(gamma * sum(back) / (delta * between + sum(cam) / 2))
    return np.array(values)


def hard_negative_suppression(probability, boundary, negative_weight, suppression):
    """SEM, Eq. 1 with the minus sign that its print lacks, for each pixel of the batch."""
    b, n = int(boundary.sum()), int((~boundary).sum())
    alpha, beta = b / (b + n), n / (b + n)
    values = np.empty(probability.shape)
    for index in np.ndindex(*probability.shape):
        p, target = probability[index], float(boundary[index])
        vanilla = beta * target * math.log(p)
        vanilla += negative_weight * alpha * (1 - target) * math.log(1 - p)
        extra = alpha * (1 - target) * p * math.log(1 - p)
        values[index] = -(vanilla + extra * suppression)
    return values


def masked_bce(logits, target, ignore_index):
    """SPOL, Eq. 7: the cross entropy of each pixel, zero where there is no label."""
    values = np.zeros(logits.shape)
    for index in np.ndindex(*logits.shape):
        if target[index] != ignore_index:
            p = sigmoid(logits[index])
            values[index] = -math.log(p if target[index] else 1 - p)
    return values


def cross_entropy(logits, wanted):
    """Of one image; ``wanted`` holds a probability for each class."""
    return -sum(w * math.log(p) for w, p in zip(wanted, softmax(logits), strict=True))


def multiplicative(deep, fused, label, distill):
    """SPOL, Sec. 3.1, and the released loss for CUB, for one image."""
    wanted = np.eye(len(deep))[label]
    if distill:
        return (cross_entropy(deep, wanted) + cross_entropy(fused, softmax(deep))) / 2
    return cross_entropy(deep, wanted) + cross_entropy(fused, wanted)
