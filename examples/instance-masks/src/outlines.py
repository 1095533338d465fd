"""Turns labels of the shown picture, which a model saw, into instances in pixels of the sent picture.

A pixel of the sent picture has the label of the shown picture's pixel under its middle. Box, area and run lengths follow from
that one rule, and agree to the pixel. Polygons are scaled from the shown picture.
"""

from dataclasses import dataclass

import coco_rle
import numpy as np
import shapes

from serving.api import Array

ERROR = 0.8  # pixels of the shown picture by which a polygon is simplified; with inner corners it stays within 1.2
MOST = 5000  # instances of an answer; the surest ones are kept


@dataclass(frozen=True)
class Found:
    """One instance. rows, columns: its box in the shown picture. mask: bool, of the box. score: 0 to 1."""

    rows: slice
    columns: slice
    mask: Array
    score: float

    def rings(self) -> list[Array]:
        """Return its outer outlines, x and y in pixels of the shown picture."""
        corner = (self.columns.start, self.rows.start)
        return [ring + corner for ring in shapes.rings(self.mask, ERROR)]


class Grid:
    """Maps pixels of the sent picture to pixels of the shown one. sent, shown: width and height of each."""

    def __init__(self, sent: tuple[int, int], shown: tuple[int, int]):
        self.sent = sent
        self.scale = np.array(sent) / shown
        self.x, self.y = (((np.arange(s) + 0.5) * t / s).astype(int) for s, t in zip(sent, shown, strict=True))

    def described(self, found: Found, label: str, as_rle: bool) -> dict[str, object]:
        """Return an instance as JSON for the answer. as_rle: with run lengths instead of polygons."""
        left, right = np.searchsorted(self.x, (found.columns.start, found.columns.stop))
        top, bottom = np.searchsorted(self.y, (found.rows.start, found.rows.stop))
        rows, columns = self.y[top:bottom] - found.rows.start, self.x[left:right] - found.columns.start
        mask = found.mask[np.ix_(rows, columns)]
        width, height = self.sent
        return {
            "label": label,
            "score": round(found.score, 4),
            "area": int(mask.sum()),
            "box": [int(left), int(top), int(right), int(bottom)],
            **(
                {"rle": coco_rle.encode(mask, int(left), int(top), height, width)}
                if as_rle
                else {"polygon": [np.round(ring * self.scale, 1).tolist() for ring in found.rings()]}
            ),
        }


def instances(labels: Array, certainty: Array) -> list[Found]:
    """Return the instances of labels [height, width], the surest first. certainty: 0 to 1 for each pixel."""
    count = int(labels.max())
    y, x = np.nonzero(labels)
    number = labels[y, x]
    top, left = np.full(count + 1, len(labels)), np.full(count + 1, labels.shape[1])
    bottom, right = np.zeros(count + 1, int), np.zeros(count + 1, int)
    for first, last, where in ((top, bottom, y), (left, right, x)):
        np.minimum.at(first, number, where)
        np.maximum.at(last, number, where + 1)
    score = np.bincount(number, certainty[y, x], count + 1) / np.maximum(np.bincount(number, minlength=count + 1), 1)
    order = 1 + np.argsort(-score[1:], kind="stable")[:MOST]
    boxes = ((i, slice(int(top[i]), int(bottom[i])), slice(int(left[i]), int(right[i]))) for i in order)
    return [Found(rows, columns, labels[rows, columns] == i, float(score[i])) for i, rows, columns in boxes]
