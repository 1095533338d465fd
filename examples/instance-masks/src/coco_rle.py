"""Encodes masks as run lengths, in COCO's uncompressed form: `{"size": [height, width], "counts": [...]}`.

The counts are lengths of runs of 0 and 1 in turn, down the columns from left to right. The first counts zeros, and is 0 where
the mask begins with a 1. They sum to height x width. pycocotools reads them with mask.frPyObjects(rle, height, width).
"""

import numpy as np

from serving.api import Array


def encode(mask: Array, left: int, top: int, height: int, width: int) -> dict[str, list[int]]:
    """Return the run lengths of a height x width picture that is 0 outside a mask. mask: bool [h, w], placed at (left, top)."""
    edges = np.diff(np.pad(mask.T.astype(np.int8), ((0, 0), (1, 1))), axis=1)  # one row a column of the picture
    column, begin = np.nonzero(edges == 1)
    end = np.nonzero(edges == -1)[1]
    borders = (np.stack((begin, end), axis=1) + ((column + left) * height + top)[:, None]).ravel()
    again = np.flatnonzero(borders[1:] == borders[:-1])  # a run to the end of a column continues in the next one
    borders = np.delete(borders, np.concatenate((again, again + 1)))
    counts = np.diff(np.concatenate(([0], borders, [height * width])))
    return {"size": [height, width], "counts": (counts if counts[-1] else counts[:-1]).tolist()}
