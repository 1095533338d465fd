"""The name of an image, taken apart.

Knows the grammar of image names. Does not know registries, and asks none.
"""

import re
from dataclasses import dataclass

HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*(?::[0-9]+)?/)?"
PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
FORM = re.compile(
    rf"(?P<name>{HOST}{PATH}(?:/{PATH})*)(?::(?P<tag>\w[\w.-]{{0,127}}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?", re.ASCII
)
UNTAGGED = "dev"  # what a render shows before there is a build
SHORT_DIGEST = len("sha256:") + 12  # letters of a digest that people tell apart


@dataclass(frozen=True)
class Image:
    """name: without tag and digest. tag, digest: "" where the name has none; a digest is "sha256:" and 64 letters."""

    name: str
    tag: str = ""
    digest: str = ""

    @property
    def text(self) -> str:
        """The image as a pod names it: by its digest where that is known, which is the same content for ever."""
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}" if self.tag else self.name

    @property
    def full(self) -> str:
        """The image with all that is known of it."""
        return f"{self.name}{':' if self.tag else ''}{self.tag}{'@' if self.digest else ''}{self.digest}"

    @property
    def version(self) -> str:
        """A label's value that tells it from others; "" where the name tells none."""
        return (self.tag or self.digest.removeprefix("sha256:")[:12])[:63].strip("_.-")


def image(text: str) -> Image:
    """Take an image's name apart. Raises ValueError when it is none."""
    found = FORM.fullmatch(text)
    if found is None or len(text) > 500:
        raise ValueError(f"{text[:80]!r} is no image's name")
    return Image(found["name"], found["tag"] or "", found["digest"] or "")


def digest_of(text: str) -> str:
    """Return the digest by which a pod names its image; "" where it names a tag."""
    return text.partition("@")[2]


def short_digest(digest: str) -> str:
    """Return as much of a digest as people tell apart."""
    return digest[:SHORT_DIGEST]


def with_digest(version: str, digest: str) -> str:
    """Return a version for people, with its digest where one is known."""
    return f"{version} ({short_digest(digest)})" if digest else version
