"""The name of an image, taken apart.

Knows the grammar of image names. Does not know registries, and asks none.
"""

import re
from dataclasses import dataclass

HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*(?::[0-9]+)?/)?"
PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
FORM = re.compile(
    rf"(?P<name>{HOST}{PATH}(?:/{PATH})*)(?::(?P<tag>\w[\w.-]{{0,127}}))?(?:@sha256:(?P<digest>[0-9a-f]{{64}}))?", re.ASCII
)
UNTAGGED = "dev"  # what a render shows before there is a build


@dataclass(frozen=True)
class Image:
    """text: the whole name. version: a label's value that tells it from others; empty where the name tells none."""

    text: str
    version: str


def image(text: str) -> Image:
    """Take an image's name apart. Raises ValueError when it is none."""
    found = FORM.fullmatch(text)
    if found is None or len(text) > 500:
        raise ValueError(f"{text[:80]!r} is no image's name")
    version = found["tag"] or (found["digest"] or "")[:12]
    return Image(text, version[:63].strip("_.-"))
