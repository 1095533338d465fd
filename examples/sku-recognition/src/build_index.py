"""Builds the index of the products from a folder of pictures: `make index SERVICE=... PICTURES=folder`.

The server notices the new file by itself.
"""

import argparse
import os
import sys
import unicodedata
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import looks
import numpy as np
import product_index
from tqdm import tqdm

from serving.api import (
    Array,
    Arrays,
    Handle,
    ModelFailed,
    Service,
    ServingError,
    SettingsError,
    StartError,
    check_file,
    make_request,
    open_service,
    silence,
)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")

Pictures = list[tuple[str, Path]]  # product and file


def main(arguments: list[str] | None = None) -> int:
    """Build the index and return the exit status."""
    asked = parser().parse_args(arguments)
    silence()
    try:
        pictures = pictures_of(asked.pictures)
        service = open_service(asked.service)
        settings = service.settings
        target = target_of(service)
        check_file(asked.service / settings.model_path)
        model = looks.fingerprint(asked.service / settings.model_path)
        # Two vectors a picture, and two batches in the queue.
        at_once = max(1, min(settings.max_rows_per_request, settings.queue_limit // 2) // 2)
        vectors, broken = embed([file for _, file in pictures], service.model, at_once)
        tell(broken, asked.skip_broken)
        products = [product for product, file in pictures if file not in broken]
        made = product_index.make(products, vectors, model)
        product_index.write(made, target)
    except (StartError, SettingsError, ServingError, OSError) as error:
        # The text of a ModelFailed points to a server's log, which does not exist here.
        cause = error.__cause__ if isinstance(error, ModelFailed) else None
        print(cause or error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"{target}: {len(made.names)} products of {len(products)} pictures, {made.facts()['kind']} search")
    return 0


def pictures_of(folder: Path) -> Pictures:
    """Return a folder's pictures, in the order of their names. Raises StartError, which lists all mistakes."""
    if not folder.is_dir():
        raise StartError(f"{folder}: no such folder; give one of pictures, named <product>/<view>.jpg or <product>.jpg")
    found: Pictures = []
    wrong: list[str] = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        inside = sorted(file for file in entry.iterdir() if not file.name.startswith(".")) if entry.is_dir() else [entry]
        # Some Macs write an accent as a character of its own, and both ways must name the same product.
        product = unicodedata.normalize("NFC", entry.name if entry.is_dir() else entry.stem)
        found += [(product, file) for file in inside]
        wrong += [] if inside else [f"{entry}: a product without a picture"]
    wrong += [f"{file}: no picture; only {', '.join(SUFFIXES)} may lie here" for _, file in found if not is_picture(file)]
    wrong += [f"{file}: its product's name cannot be printed" for product, file in found if not product.isprintable()]
    if wrong:
        raise StartError("\n".join([*wrong, "correct or remove these"]))
    if not found:
        raise StartError(f"{folder}: holds no pictures; put them there as <product>/<view>.jpg or <product>.jpg")
    return found


def target_of(service: Service) -> Path:
    """Return the path of the index to be written. Raises StartError, before any work is done, if it cannot be written."""
    target = product_index.path_of(service)
    if not os.access(target.parent, os.W_OK):
        raise StartError(
            f"{target.parent}: no folder that can be written to; the index is written there: make it, or name another in "
            "value.py's options"
        )
    return target


def is_picture(file: Path) -> bool:
    return file.is_file() and file.suffix.lower() in SUFFIXES


def embed(files: list[Path], model: Handle, at_once: int) -> tuple[Array, dict[Path, str]]:
    """Return two vectors for each picture that can be read, float32 [2 n, 1280], and the errors of the others."""
    broken: dict[Path, str] = {}
    vectors: list[Array] = []
    with tqdm(total=len(files), desc="pictures", leave=False, disable=None) as bar:
        before: Future[Arrays] | None = None
        for at in range(0, len(files), at_once):
            pixels = list(readable(files[at : at + at_once], broken))
            # The model works on one batch while the next one is decoded.
            now = model.submit({"images": np.concatenate(pixels)}, make_request()) if pixels else None
            vectors += [before.result()["embedding"]] if before else []
            before = now
            bar.update(len(files[at : at + at_once]))
        vectors += [before.result()["embedding"]] if before else []
    if not vectors:
        raise StartError(f"none of the {len(files)} pictures can be read; the first: {files[0]}: {broken[files[0]]}")
    return np.concatenate(vectors), broken


def readable(files: list[Path], broken: dict[Path, str]) -> Iterator[Array]:
    for file in files:
        try:
            yield looks.whole_and_middle(make_request(image=file.read_bytes()))
        except (ServingError, OSError) as error:
            broken[file] = str(error)


def tell(broken: dict[Path, str], skip: bool) -> None:
    """Print the broken pictures. Raises StartError unless they are skipped."""
    for file, words in broken.items():
        print(f"{file}: {words}", file=sys.stderr)
    if broken and not skip:
        raise StartError(
            f"{len(broken)} broken pictures, and nothing was written; put them right, or leave them out (SKIP_BROKEN=1)"
        )


def parser() -> argparse.ArgumentParser:
    here = Path(__file__).resolve().parents[1]
    made = argparse.ArgumentParser(
        description="Build the index of the products from a folder of pictures, named <product>/<view>.jpg or <product>.jpg.",
        epilog="example: .venv/bin/python examples/sku-recognition/src/build_index.py --skip-broken ~/pictures",
    )
    made.add_argument("pictures", type=Path, help="the folder of pictures")
    made.add_argument("--service", type=Path, default=here, help="the service's folder, whose value.py names the index")
    made.add_argument("--skip-broken", action="store_true", help="leave out pictures that cannot be read")
    return made


if __name__ == "__main__":
    sys.exit(main())
