"""Overlaps of whole-number boxes as exact fractions, and the rules about them, image by image."""

from fractions import Fraction


def area(box, extra):
    x0, y0, x1, y1 = (int(corner) for corner in box)
    return max(x1 - x0 + extra, 0) * max(y1 - y0 + extra, 0)


def ratio(part, whole):
    return Fraction(part, whole) if whole else Fraction(0)


def overlap(box, other, extra):
    """IoU, share of ``box``, share of ``other``."""
    corners = [
        max(box[0], other[0]), max(box[1], other[1]), min(box[2], other[2]), min(box[3], other[3])
    ]  # fmt: skip
    both, one, two = area(corners, extra), area(box, extra), area(other, extra)
    return ratio(both, one + two - both), ratio(both, one), ratio(both, two)


def kind(box, label, true_boxes, true_label, extra):
    """Name of the kind of error of one image."""
    if label != true_label:
        return "classification"
    if not len(true_boxes):
        return "other"
    table = [overlap(box, true, extra) for true in true_boxes]
    best = max(range(len(table)), key=lambda i: table[i][0])  # the first of equal ones
    iou, of_predicted, of_true = table[best]
    if iou > Fraction(1, 2):
        return "right"
    if len([1 for _, _, covered in table if covered > Fraction(3, 10)]) > 1:
        return "multi_instance"
    if of_predicted > Fraction(1, 2):
        return "part"
    return "more" if of_true >= Fraction(7, 10) else "other"


def hits(boxes, labels, true_boxes, true_label, hit, iou, extra, known_box=None):
    """Top-1, Top-k and GT-known of one image; ``iou`` is a fraction."""

    def meets(box):
        best = max((overlap(box, true, extra)[0] for true in true_boxes), default=Fraction(0))
        return best > iou if hit == ">" else best >= iou

    right = [label == true_label and meets(box) for box, label in zip(boxes, labels, strict=True)]
    return right[0], any(right), meets(boxes[0] if known_box is None else known_box)
