"""The name of an image, split into name, tag and digest."""

import re
from dataclasses import dataclass

HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*(?::[0-9]+)?/)?"
PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
FORM = re.compile(
    rf"(?P<name>{HOST}{PATH}(?:/{PATH})*)(?::(?P<tag>\w[\w.-]{{0,127}}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?", re.ASCII
)
UNTAGGED = "dev"  # what a render shows before there is a build
SHORT_DIGEST = len("sha256:") + 12  # characters of a digest that people are shown


@dataclass(frozen=True)
class Image:
    """The parts of an image's name. tag: "" for none. digest: "sha256:" and 64 hexadecimal digits, or "" for none."""

    name: str
    tag: str = ""
    digest: str = ""

    @property
    def text(self) -> str:
        """The image as a pod names it: by its digest where that is known, since a tag can be moved to other content."""
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}" if self.tag else self.name

    @property
    def full(self) -> str:
        """The image with its name, its tag and its digest, as far as they are known."""
        return f"{self.name}{':' if self.tag else ''}{self.tag}{'@' if self.digest else ''}{self.digest}"

    @property
    def version(self) -> str:
        """The value of the label `version`: the tag, else the start of the digest; "" where the name has neither."""
        return (self.tag or self.digest.removeprefix("sha256:")[:12])[:63].strip("_.-")


def image(text: str) -> Image:
    """Return the parts of an image's name. Raises ValueError where the text is not an image's name."""
    found = FORM.fullmatch(text)
    if found is None or len(text) > 500:
        raise ValueError(f"{text[:80]!r} is not the name of an image")
    return Image(found["name"], found["tag"] or "", found["digest"] or "")


def digest_of(text: str) -> str:
    """Return the digest in the image of a pod; "" where it names a tag."""
    return text.partition("@")[2]


def short_digest(digest: str) -> str:
    """Return the start of a digest, which is enough for a person."""
    return digest[:SHORT_DIGEST]


def version_with_digest(version: str, digest: str) -> str:
    """Return a version for a person, followed by the short digest where one is known."""
    return f"{version} ({short_digest(digest)})" if digest else version
