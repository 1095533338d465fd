"""Resizes, separates, outlines and draws masks. The only module that imports OpenCV."""

import cv2
import numpy as np

from serving.api import Array

# OpenCV's own threads would compete with the model's for the cores. Requests run in parallel instead. Both 1 and 0 run a call
# on the calling thread alone, but only after 1 does getNumThreads return 1.
cv2.setNumThreads(1)

COLOURS = ((255, 93, 93), (53, 201, 165), (90, 169, 255), (255, 181, 46), (197, 139, 255), (139, 212, 80))


def resized(picture: Array, width: int, height: int) -> Array:
    """Return a picture or map at another size. It is shrunk by averaging areas, and enlarged linearly."""
    smaller = height * width < picture.shape[0] * picture.shape[1]
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR))


def within(picture: Array, longest: int) -> Array:
    """Return the picture, shrunk so that its longer side is at most `longest` pixels."""
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    return picture if scale >= 1 else resized(picture, max(1, round(width * scale)), max(1, round(height * scale)))


def grey(picture: Array) -> Array:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))


def parts(mask: Array) -> Array:
    """Return the connected parts (over edges, not corners) of a mask, numbered from 1: int32, 0 is the background."""
    return np.asarray(cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1])


def larger(labels: Array, least: float) -> Array:
    """Return the labels without those of fewer than `least` pixels, numbered anew from 1 without gaps."""
    keep = np.bincount(labels.ravel()) >= least
    keep[0] = False
    return np.where(keep, np.cumsum(keep), 0)[labels].astype(np.int32)


def grown(seeds: Array, pixels: float) -> Array:
    """Return labels whose seeds have grown by `pixels`. Where two meet, each pixel goes to the nearer one."""
    if not seeds.any():
        return seeds
    distance, nearest = cv2.distanceTransformWithLabels(
        (seeds == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    names = np.zeros(nearest.max() + 1, np.int32)
    names[nearest[seeds > 0]] = seeds[seeds > 0]
    return np.where(distance <= pixels, names[nearest], 0)


def parted(mask: Array, depth: float) -> Array:
    """Return a mask's parts, cut where they are joined only by a neck: int32, 0 is the background.

    Each part is thinned by `depth` of its greatest distance from the edge, and each core that remains gets the pixels nearest
    to it. For round things that overlap a little, the cut lies on the chord between them. A thing whose radius is under `depth`
    of its neighbour's leaves no core, and stays with the neighbour.
    """
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    found = np.asarray(labels, np.int32)
    distance = np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5))
    deepest = np.zeros(count, np.float32)
    np.maximum.at(deepest, found, distance)
    cores = parts(distance > depth * deepest[found])
    owners = np.zeros(cores.max() + 1, int)
    owners[cores] = np.where(cores > 0, found, 0)
    for part in np.flatnonzero(np.bincount(owners[1:], minlength=count) > 1):
        left, top, width, height = boxes[part, :4]
        box = np.s_[top : top + height, left : left + width]
        inside = found[box] == part
        nearest = grown(np.where(inside, cores[box], 0), np.inf)
        found[box] = np.where(inside, count + nearest, found[box])
    return found


def rings(mask: Array, error: float) -> list[Array]:
    """Return the outer outlines of a mask as polygons [points, 2] of x and y.

    They are simplified by at most `error` pixels, and at inner corners by 0.36 more. Outlines that are too thin for that are
    not simplified.

    They run between pixels: the mask of the single pixel (0, 0) is the square from 0, 0 to 1, 1. OpenCV follows the middles of
    pixels, so every pixel is put on a finer grid together with its corners.
    """
    height, width = mask.shape
    net = np.zeros((2 * height + 1, 2 * width + 1), np.uint8)
    net[1::2, 1::2] = mask
    net = np.asarray(cv2.dilate(net, np.ones((3, 3), np.uint8)))
    outer = cv2.findContours(net, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    return [_simple(ring, 2 * error)[:, 0] / 2 for ring in outer]


def drawn(picture: Array, outlines: list[list[Array]]) -> bytes:
    """Return the picture as PNG, with the outlines of each thing in one colour."""
    out = np.ascontiguousarray(picture[..., ::-1])
    thickness = 1 if max(picture.shape) < 640 else 2
    for number, outline in enumerate(outlines):
        points = [np.round((ring - 0.5) * 16).astype(np.int32) for ring in outline]
        cv2.polylines(out, points, True, COLOURS[number % len(COLOURS)][::-1], thickness, cv2.LINE_AA, shift=4)
    return bytes(cv2.imencode(".png", out)[1].tobytes())


def _simple(ring: Array, error: float) -> Array:
    simple = np.asarray(cv2.approxPolyDP(ring, error, True))
    return simple if len(simple) > 2 else np.asarray(cv2.approxPolyDP(ring, 0, True))
