"""Three models that are plain functions: one tensor of every datatype given back, two added, texts turned to capitals."""

import numpy as np

from serving.api import DATATYPES, Arrays, Service, TensorSpec

SAME = tuple(TensorSpec(f"{name.lower()}_in", name, (-1, 3)) for name in DATATYPES)
GIVEN_BACK = tuple(TensorSpec(f"{name.lower()}_out", name, (-1, 3)) for name in DATATYPES)
TERMS = (TensorSpec("a", "FP32", (-1, 4)), TensorSpec("b", "FP32", (-1, 4)))
RESULTS = (TensorSpec("sum", "FP32", (-1, 4)), TensorSpec("difference", "FP32", (-1, 4)))


def same(arrays: Arrays) -> Arrays:
    return {name.replace("_in", "_out"): array for name, array in arrays.items()}


def add(arrays: Arrays) -> Arrays:
    return {"sum": arrays["a"] + arrays["b"], "difference": arrays["a"] - arrays["b"]}


def capitals(arrays: Arrays) -> Arrays:
    return {"capitals": np.vectorize(bytes.upper, otypes=[object])(arrays["texts"])}


class Tensors(Service):
    def setup(self) -> None:
        self.models.add("tensors", same, SAME, GIVEN_BACK)
        self.models.add("add", add, TERMS, RESULTS)
        self.models.add(
            "capitals", capitals, (TensorSpec("texts", "BYTES", (-1, -1)),), (TensorSpec("capitals", "BYTES", (-1, -1)),)
        )
