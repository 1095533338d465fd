"""Lists the model files: the common ones of the materials, and the customers' own.

    model/unet.onnx                       the common model of every material that names it
    model/customers/acme/nuclei.onnx      a customer's own model of a material

A folder's name is a customer's, and a file's name a material's.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from serving.api import BadInput, StartError

CUSTOMER = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_CUSTOMER_MODELS = 200  # each that was loaded once leaves about 40 series among the platform's metrics


def common(folder: Path, files: Mapping[str, str]) -> dict[str, str]:
    """Return the file of every material whose file lies in model/, by material. files: by material, where all are there.

    Raises StartError for a file that no material names, and when no file is there.
    """
    there = {path.name for path in (folder / "model").glob("*.onnx")}
    strange = sorted(there - set(files.values()))
    if strange:
        raise StartError(f"model/{strange[0]}: no material uses it; give it one in src/materials.py, or remove it")
    if not there:
        raise StartError(f"model/ has none of {', '.join(sorted(set(files.values())))}; put one there")
    return {material: file for material, file in files.items() if file in there}


def customers(folder: Path, materials: Mapping[str, object]) -> dict[tuple[str, str], str]:
    """Return the customers' files, relative to the folder, by customer and material. Raises StartError for any other name."""
    found = {}
    for path in sorted((folder / "model/customers").glob("*/*.onnx")):
        customer, material, place = path.parent.name, path.stem, path.relative_to(folder)
        if not CUSTOMER.fullmatch(customer):
            raise StartError(f"{place}: a customer is named by 1 to 64 letters, digits, - and _; rename the folder")
        if material not in materials:
            raise StartError(f"{place}: no material is named {material!r}, only {', '.join(materials)}; rename the file")
        found[customer, material] = str(place)
    if len(found) > MAX_CUSTOMER_MODELS:
        raise StartError(f"model/customers: {len(found)} models, at most {MAX_CUSTOMER_MODELS} are served by one pod; use two")
    return found


def check_customer(name: str) -> None:
    """Raise BadInput where the name cannot be a customer's."""
    if name and not CUSTOMER.fullmatch(name):
        raise BadInput("customer_id must be 1 to 64 letters, digits, - and _")
