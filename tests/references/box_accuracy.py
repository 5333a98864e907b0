"""wsolevaluation's box accuracy, threshold after threshold, image after image.

Its structure is kept: one search for contours at each threshold of each map, then one table of IoUs
of all these boxes with the true ones. ``benchmarks.speed`` takes it as the loop to beat.
"""

import cv2
import numpy as np
from scipy import ndimage


def boxes_of(score_map, thresholds, all_contours):
    """For each threshold the predicted boxes (n, 4): x0, y0, x1, y1 as used, that is inclusive."""
    height, width = score_map.shape
    gray = (np.asarray(score_map, np.float64) * 255).astype(np.uint8)
    brightest = int(gray.max())
    found = []
    for threshold in thresholds:
        cut = int(threshold * brightest)
        binary = cv2.threshold(gray, cut, 255, cv2.THRESH_BINARY)[1]
        contours = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[-2]
        if len(contours) == 0:
            found.append(np.array([[0, 0, 0, 0]]))
            continue
        if not all_contours:
            contours = [max(contours, key=cv2.contourArea)]
        boxes = []
        for contour in contours:
            x, y, w, h = cv2.boundingRect(contour)
            boxes.append([x, y, min(x + w, width - 1), min(y + h, height - 1)])
        found.append(np.array(boxes))
    return found


def iou_table(first, second):
    """IoU of inclusive boxes (n, 4) with (m, 4), zero where both have no area."""
    first, second = first[:, None], second[None]
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    both = np.maximum(high - low + 1, 0).prod(-1)
    area, other = ((boxes[..., 2:] - boxes[..., :2] + 1).prod(-1) for boxes in (first, second))
    union = area + other - both
    return np.where(union > 0, both / np.maximum(union, 1), 0.0)


def inclusive_in_map(boxes, map_size, image_size=None):
    """Half-open boxes of an image as inclusive ones of the map: every corner is cut to an int."""
    height, width = map_size
    image_height, image_width = map_size if image_size is None else image_size
    resized = [
        [
            int(x0 * width / image_width),
            int(y0 * height / image_height),
            int((x1 - 1) * width / image_width),
            int((y1 - 1) * height / image_height),
        ]
        for x0, y0, x1, y1 in np.asarray(boxes, np.float64).tolist()
    ]
    return np.array(resized, np.int64).reshape(-1, 4)


def best_ious(found, truth):
    """For each threshold's boxes the best IoU of any of them with any of the inclusive ``truth``."""
    if len(truth) == 0:
        return np.zeros(len(found))
    best = iou_table(np.concatenate(found), truth).max(1)
    ends = np.cumsum([len(boxes) for boxes in found])
    return np.array([part.max() for part in np.split(best, ends[:-1])])


def count_hits(maps, boxes, thresholds, ious, all_contours, image_sizes=None):
    """Numbers of images (len(ious), len(thresholds)) with an IoU of at least each of ``ious``.

    ``boxes`` are half-open, as everywhere in the library; wsolevaluation's own are inclusive.
    """
    hits = np.zeros((len(ious), len(thresholds)), np.int64)
    for i, score_map in enumerate(maps):
        size = None if image_sizes is None else image_sizes[i]
        truth = inclusive_in_map(boxes[i], score_map.shape, size)
        best = best_ious(boxes_of(score_map, thresholds, all_contours), truth)
        for row, least in enumerate(ious):
            hits[row] += best >= least
    return hits


def half_open_boxes(score_map, threshold, all_components):
    """Boxes (x0, y0, x1, y1) with x1 and y1 one past the last pixel: most pixels first, then first."""
    labels, _ = ndimage.label(score_map > threshold, np.ones((3, 3)))
    pieces = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        pixels = np.flatnonzero(labels == number)
        box = [columns.start, rows.start, columns.stop, rows.stop]
        pieces.append((-len(pixels), pixels[0], box))
    boxes = [box for _, _, box in sorted(pieces)]
    return boxes if all_components else boxes[:1]


def half_open_iou(first, second):
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    both = max(width, 0) * max(height, 0)
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (first, second)]
    return both / (sum(areas) - both)


def count_half_open_hits(maps, boxes, thresholds, ious, all_components, image_sizes=None):
    """As ``count_hits``, with plain boxes: nothing is rounded, holes are no candidates."""
    hits = np.zeros((len(ious), len(thresholds)), np.int64)
    for i, score_map in enumerate(maps):
        height, width = score_map.shape
        image_height, image_width = (height, width) if image_sizes is None else image_sizes[i]
        scale = [width / image_width, height / image_height] * 2
        truth = [np.multiply(box, scale).tolist() for box in np.asarray(boxes[i], np.float64)]
        for column, threshold in enumerate(thresholds):
            found = half_open_boxes(score_map, threshold, all_components)
            best = max((half_open_iou(a, b) for a in found for b in truth), default=0)
            hits[:, column] += best >= np.array(ious)
    return hits
