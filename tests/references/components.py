"""Connected components by flood fill, and boxes, one image at a time."""

import numpy as np

STEPS = {
    4: [(-1, 0), (1, 0), (0, -1), (0, 1)],
    8: [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)],
}


def label(mask, connectivity):
    """Labels 1, 2, ... in raster order of each component's first pixel."""
    labels, count = np.zeros(mask.shape, dtype=np.int64), 0
    for start in np.ndindex(*mask.shape):
        if not mask[start] or labels[start]:
            continue
        count += 1
        labels[start], pending = count, [start]
        while pending:
            y, x = pending.pop()
            for dy, dx in STEPS[connectivity]:
                ny, nx = y + dy, x + dx
                inside = 0 <= ny < mask.shape[0] and 0 <= nx < mask.shape[1]
                if inside and mask[ny, nx] and not labels[ny, nx]:
                    labels[ny, nx] = count
                    pending.append((ny, nx))
    return labels


def box(mask):
    """Half-open x0, y0, x1, y1 around all pixels; zeros if there is none."""
    pixels = [(y, x) for y, x in np.ndindex(*mask.shape) if mask[y, x]]
    if not pixels:
        return [0, 0, 0, 0]
    rows, columns = [y for y, _ in pixels], [x for _, x in pixels]
    return [min(columns), min(rows), max(columns) + 1, max(rows) + 1]


def component_boxes(mask):
    """Boxes of the 8-connected components, most pixels first, then raster order."""
    labels = label(mask, 8)
    sizes = [(-(labels == n).sum(), n) for n in range(1, labels.max() + 1)]
    return [box(labels == n) for _, n in sorted(sizes)]


def box_iou(a, b, one):
    """IoU of two boxes; ``one`` is 1 for inclusive pixel coordinates, else 0."""

    def area(x0, y0, x1, y1):
        return max(x1 - x0 + one, 0) * max(y1 - y0 + one, 0)

    both = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    if area(*a) == 0 or area(*b) == 0:
        both = 0
    union = area(*a) + area(*b) - both
    return both / union if union > 0 else 0.0
