"""The products and their FAISS index: built, kept in one file, searched. The only module that imports faiss.

Knows names and vectors. Does not know pictures, models or requests.

Both lie in one file, a zip of `products.json` and `index.faiss`, and that file is replaced as a whole (os.replace): no reader
ever sees the names of one catalogue beside the vectors of another. The zip's checksums find a damaged file before FAISS, which
trusts the sizes that it reads, is given a byte of it.
"""

import json
import logging
import math
import os
import tempfile
import time
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving.api import Array, Service, StartError

logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it tells of each build of itself that it looks for, and misses
import faiss  # noqa: E402

# Above so many vectors the search is approximate. An exact one reads every vector for every picture: 20,000 of 1280 numbers
# are 102 MB, which a core reads in about the time that the model takes for a picture. Beyond it the search would cost more.
EXACT_UP_TO = 20_000
MOST_ROWS = 2048  # vectors that one search gathers
FORMAT = 1
CURE = "make index SERVICE=... PICTURES=folder"


@dataclass(frozen=True)
class Catalogue:
    """Products and the index of their vectors.

    owners: whose each vector is, int64 places in `names`. model: whose vectors they are. built: when, in UTC.
    most: vectors of the product that has the most.
    """

    names: tuple[str, ...]
    owners: Array
    index: faiss.Index
    model: str
    built: str
    most: int

    def nearest(self, vectors: Array, count: int) -> tuple[Array, Array]:
        """Return the nearest products of each vector, best first: names (bytes in an object array) and cosines (float32).

        vectors: float32 [n, width], of length 1. Both results are [n, count]; where there are fewer products, b"" and 0.
        Fewer than count come back also where the nearest few have MOST_ROWS vectors and more; the nearest is always there.
        """
        # FAISS computes on OpenMP threads, whose number belongs to the thread that calls: it must be set here, and not once at
        # the start. One is right: the model's sessions have the cores already, and OpenMP's threads spin while they wait.
        faiss.omp_set_num_threads(1)
        # A product counts once, by its best vector: of so many vectors at least `count` belong to different products.
        rows = min((count - 1) * self.most + 1, self.index.ntotal, MOST_ROWS)
        scores, places = self.index.search(np.ascontiguousarray(vectors, np.float32), rows)
        names = np.full((len(vectors), count), b"", object)
        best = np.zeros((len(vectors), count), np.float32)
        for at, (found, cosines) in enumerate(zip(places, scores, strict=True)):
            _, first = np.unique(self.owners[found[found >= 0]], return_index=True)  # -1: an approximate search found no more
            first = np.sort(first)[:count]
            names[at, : len(first)] = [self.names[owner].encode() for owner in self.owners[found[first]]]
            best[at, : len(first)] = cosines[first]
        return names, best

    def facts(self) -> dict[str, object]:
        """Return what /stats says of it."""
        kind: dict[str, object] = {"kind": "exact"}
        if isinstance(self.index, faiss.IndexIVFFlat):
            kind = {"kind": "IVF", "lists": self.index.nlist, "nprobe": self.index.nprobe}
        vectors = {"vectors": self.index.ntotal, "bytes": self.index.ntotal * self.index.d * 4}
        return {"products": len(self.names), **vectors, **kind, "built": self.built}


def path_of(service: Service) -> Path:
    """Return where a service's index lies: what options of value.py say, in its folder unless it begins with /."""
    return service.folder / service.option("index", "model/products.index")


def make(pictures: Sequence[str], vectors: Array, model: str, exact_up_to: int = EXACT_UP_TO) -> Catalogue:
    """Return the catalogue of these pictures.

    pictures: what product each shows. vectors: as many of each picture, in its order: float32 [n, width] of length 1.
    """
    names, owners = np.unique(np.repeat(np.array(pictures, object), len(vectors) // len(pictures)), return_inverse=True)
    index: faiss.Index = faiss.IndexFlatIP(vectors.shape[1])
    if len(vectors) > exact_up_to:
        index = _lists(index, vectors)
    index.add(vectors)
    built = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Catalogue(tuple(names), owners, index, model, built, int(np.bincount(owners).max()))


def _lists(middles: faiss.Index, vectors: Array) -> faiss.IndexIVFFlat:
    """Return an empty index of lists, each of the vectors near one middle; a search looks into the nearest few."""
    # About 4 * sqrt(n) lists are usual; half of it, so that each has the 39 vectors from which FAISS finds a good middle.
    index = faiss.IndexIVFFlat(middles, vectors.shape[1], 2 * math.isqrt(len(vectors)), faiss.METRIC_INNER_PRODUCT)
    index.cp.spherical = True  # cosines are compared: the middles have length 1, too
    index.train(vectors)
    return index


def write(catalogue: Catalogue, path: Path) -> None:
    """Replace the file at path by this catalogue. Whoever reads it gets the old one or the new one, whole."""
    about = {"format": FORMAT, "model": catalogue.model, "built": catalogue.built}
    about |= {"names": catalogue.names, "owners": catalogue.owners.tolist()}
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with zipfile.ZipFile(file, "w") as parts:
                parts.writestr("products.json", json.dumps(about))
                parts.writestr("index.faiss", faiss.serialize_index(catalogue.index).tobytes())
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # a pod may read it as another user
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def read(path: Path, model: str, nprobe: int) -> Catalogue:
    """Return the catalogue of a file. model: whose vectors it must hold. nprobe: lists that an approximate search looks into.

    Raises StartError in words when it is missing, damaged, of another model or of another format.
    """
    try:
        with zipfile.ZipFile(path) as parts:
            about = json.loads(parts.read("products.json"))
            index = faiss.deserialize_index(np.frombuffer(parts.read("index.faiss"), np.uint8))
        found, names, owners = about["format"], tuple(about["names"]), np.asarray(about["owners"], np.int64)
    except FileNotFoundError:
        raise StartError(f"{path}: no such file; build it: {CURE}") from None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StartError(f"{path}: no index, or a damaged one ({error}); build it again: {CURE}") from error
    if found != FORMAT or len(owners) != index.ntotal or not names:
        raise StartError(f"{path}: format {found}, this code reads {FORMAT}; build it again: {CURE}")
    if about["model"] != model:
        raise StartError(f"{path}: its vectors are another model's ({about['model']}, here is {model}); build it again: {CURE}")
    if isinstance(index, faiss.IndexIVFFlat):
        index.nprobe = min(nprobe, index.nlist)
    return Catalogue(names, owners, index, about["model"], about["built"], int(np.bincount(owners).max()))
