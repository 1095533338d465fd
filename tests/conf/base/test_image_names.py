"""Names of images are told from other texts and split, and each gives a version for a label."""

import pytest

from conf.base.image_names import image

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("demo", ""),
        ("demo:1.2", "1.2"),
        ("registry.example.com:5000/like/demo:abc-1_2.3", "abc-1_2.3"),
        ("localhost:5000/demo", ""),
        (f"like/demo@{DIGEST}", "0123456789ab"),
        (f"like/demo:v1@{DIGEST}", "v1"),
        ("like/demo:" + "x" * 128, "x" * 63),
        ("like/demo:_a_", "a"),
    ],
)
def test_a_name_tells_its_version_as_a_label_may_hold_it(text: str, version: str) -> None:
    assert image(text).version == version


@pytest.mark.parametrize(
    "text", ["", "Demo", "a b", "a:b:c", "a//b", "-a", "a:", "a@sha256:0", "a\n", "http://a/b", "é", "a:" + "x" * 129]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the name of an image"):
        image(text)


def test_a_pod_names_an_image_by_its_digest_and_the_tag_stays_its_version() -> None:
    found = image(f"localhost:5000/like/demo:v1@{DIGEST}")
    assert (found.text, found.full) == (f"localhost:5000/like/demo@{DIGEST}", f"localhost:5000/like/demo:v1@{DIGEST}")
    assert (found.name, found.tag, found.digest) == ("localhost:5000/like/demo", "v1", DIGEST)


@pytest.mark.parametrize("text", ["demo", "demo:1.2", f"like/demo@{DIGEST}", f"localhost:5000/like/demo:v1@{DIGEST}"])
def test_a_name_is_put_together_as_it_was(text: str) -> None:
    assert image(text).full == text
