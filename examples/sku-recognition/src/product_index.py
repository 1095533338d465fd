"""Builds, stores and searches the products' FAISS index. The only module that imports faiss.

Names and index lie in one file, a zip of `products.json` and `index.faiss`. The file is replaced as a whole (os.replace), so
that no reader sees the names of one catalogue with the vectors of another. FAISS trusts the sizes that it reads, so the zip's
checksums reject a damaged file before FAISS reads it.
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

logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it logs each of its builds that it looks for and does not find
import faiss  # noqa: E402

# Above this number of vectors the search is approximate. An exact search reads every vector for every picture. A core
# reads the 102 MB of 20,000 vectors in about the time that the model takes for a picture.
EXACT_UP_TO = 20_000
MAX_ROWS = 2048  # vectors that one search gathers
FORMAT = 1
CURE = "make index SERVICE=... PICTURES=folder"


@dataclass(frozen=True)
class Catalogue:
    """Products and the index of their vectors.

    owners: the product of each vector, int64 indices of `names`. model: fingerprint of the model that made the vectors.

    built: the time in UTC. most: the number of vectors of the product that has the most.
    """

    names: tuple[str, ...]
    owners: Array
    index: faiss.Index
    model: str
    built: str
    most: int

    def nearest(self, vectors: Array, count: int) -> tuple[Array, Array]:
        """Return the nearest products of each vector, best first: names (bytes in an object array) and cosines (float32).

        Both are [n, count], filled up with b"" and 0 where fewer products are found. That happens if there are fewer products,
        or if the nearest few have MAX_ROWS vectors or more. The nearest is always found. vectors: float32 [n, width], of
        length 1.
        """
        # FAISS computes on OpenMP threads. Their number is a setting of the calling thread, so it is set here and not once at
        # the start. It is one, since the model's sessions use the cores already and OpenMP's threads spin while they wait.
        faiss.omp_set_num_threads(1)
        # A product counts once, by its best vector. Among this many vectors at least `count` belong to different products.
        rows = min((count - 1) * self.most + 1, self.index.ntotal, MAX_ROWS)
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
        """Return the catalogue's part of /stats."""
        kind: dict[str, object] = {"kind": "exact"}
        if isinstance(self.index, faiss.IndexIVFFlat):
            kind = {"kind": "IVF", "lists": self.index.nlist, "nprobe": self.index.nprobe}
        vectors = {"vectors": self.index.ntotal, "bytes": self.index.ntotal * self.index.d * 4}
        return {"products": len(self.names), **vectors, **kind, "built": self.built}


def path_of(service: Service) -> Path:
    """Return the path of a service's index from value.py's options. A relative one is in the service's folder."""
    return service.folder / service.option("index", "model/products.index")


def make(pictures: Sequence[str], vectors: Array, model: str, exact_up_to: int = EXACT_UP_TO) -> Catalogue:
    """Return the catalogue of these pictures.

    pictures: the product that each one shows. vectors: float32 [n, width] of length 1, equally many for each picture, in order.
    """
    names, owners = np.unique(np.repeat(np.array(pictures, object), len(vectors) // len(pictures)), return_inverse=True)
    index: faiss.Index = faiss.IndexFlatIP(vectors.shape[1])
    if len(vectors) > exact_up_to:
        index = _lists(index, vectors)
    index.add(vectors)
    built = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Catalogue(tuple(names), owners, index, model, built, int(np.bincount(owners).max()))


def _lists(middles: faiss.Index, vectors: Array) -> faiss.IndexIVFFlat:
    """Return an empty index of lists. A list holds the vectors near one middle, and a search reads the nearest few lists."""
    # 4 * sqrt(n) lists are usual. With half of them each list has the 39 vectors that FAISS needs to find a good middle.
    index = faiss.IndexIVFFlat(middles, vectors.shape[1], 2 * math.isqrt(len(vectors)), faiss.METRIC_INNER_PRODUCT)
    index.cp.spherical = True  # cosines are compared, so the middles have length 1 too
    index.train(vectors)
    return index


def write(catalogue: Catalogue, path: Path) -> None:
    """Replace the file at path by this catalogue. A reader gets either the whole old file or the whole new one."""
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
    """Return the catalogue of a file.

    model: fingerprint of the model whose vectors it must hold. nprobe: lists that an approximate search reads.
    Raises StartError when the file is missing, damaged, of another model or of another format.
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
