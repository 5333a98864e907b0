"""Gaussian prior (SPOL, Eqs 5 and 6, scaled to peak 1), pseudo labels and the released variant."""

import math

import cv2
import numpy as np


def moments(weights):
    """Weighted mean (x, y) and biased covariance of the pixel indices of one map."""
    height, width = weights.shape
    total = mean_x = mean_y = 0.0
    for y in range(height):
        for x in range(width):
            w = max(float(weights[y, x]), 0.0)
            total, mean_x, mean_y = total + w, mean_x + w * x, mean_y + w * y
    if total == 0.0:
        return np.array([(width - 1) / 2, (height - 1) / 2]), np.zeros((2, 2))
    mean_x, mean_y = mean_x / total, mean_y / total
    covariance = np.zeros((2, 2))
    for y in range(height):
        for x in range(width):
            d = np.array([x - mean_x, y - mean_y])
            covariance += max(float(weights[y, x]), 0.0) * np.outer(d, d) / total
    return np.array([mean_x, mean_y]), covariance


def density(mean, covariance, size):
    """exp(-1/2 d' inverse(covariance) d); along an axis without variance only d = 0 counts."""
    variances, axes = np.linalg.eigh(covariance)
    out = np.empty(size)
    for y in range(size[0]):
        for x in range(size[1]):
            exponent = 0.0
            for variance, axis in zip(variances, axes.T, strict=True):
                d = axis @ np.array([x - mean[0], y - mean[1]])
                if variance > 1e-10 * max(variances):
                    exponent += d * d / variance
                elif abs(d) > 1e-6:
                    exponent = math.inf
            out[y, x] = math.exp(-0.5 * exponent)
    return out


def pseudo_label(cam, foreground, background, ignore_index):
    out = np.full(cam.shape, ignore_index, dtype=np.uint8)
    for index in np.ndindex(*cam.shape):
        if cam[index] > foreground:
            out[index] = 1
        elif cam[index] < background:
            out[index] = 0
    return out


def gppl_released(cam, size, low, high, shrink, min_area):
    """The released code's steps for one float32 (H, W) map, in float64 after the resize."""
    scaled = cam / (cam.max() + 1e-6)
    response = cv2.resize(scaled, (size, size)).astype(np.float64)
    weight = np.where((response >= low) & (response <= high), response, 0.0)
    contours, _ = cv2.findContours(
        (weight > 0).astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE
    )
    out = np.zeros((size, size))
    for contour in contours:
        if cv2.contourArea(contour) < min_area:
            continue
        filled = cv2.drawContours(np.zeros((size, size)), [contour], -1, 1.0, -1)
        mean, covariance = moments(weight * filled)
        variance = np.diag(covariance)
        if min(variance) <= 0 or covariance[0, 1] ** 2 >= variance[0] * variance[1]:
            continue
        inverse = np.linalg.inv(covariance / shrink)
        y, x = np.mgrid[:size, :size]
        d = np.stack([x - mean[0], y - mean[1]], -1)
        out = np.maximum(out, np.exp(-0.5 * np.einsum("yxi,ij,yxj->yx", d, inverse, d)))
    return out
