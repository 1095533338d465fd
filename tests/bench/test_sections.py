import pytest

from bench.sections import PERFORMANCE, with_section
from bench.served import BenchError

BEGIN = "<!-- Made by `make soak`, from here to the next such line; do not edit. -->"
END = "<!-- End of what `make soak` made. -->"


def test_a_page_that_is_not_there_becomes_one() -> None:
    assert with_section("", "figures\n", "make soak") == f"# Reliability\n\n{BEGIN}\nfigures\n{END}\n"


def test_the_section_is_written_in_its_own_place_and_the_rest_of_the_page_stays() -> None:
    first = with_section("# Reliability\n\nwords\n", "figures", "make soak")
    page = with_section(f"{first}\n## Below\n\nmore words\n", "of another", "make bench")
    again = with_section(page, "other figures", "make soak")
    assert again == page.replace("\nfigures\n", "\nother figures\n")
    assert with_section(again, "figures", "make soak") == page


def test_a_section_without_its_end_is_not_guessed() -> None:
    with pytest.raises(BenchError, match="put it where the section ends"):
        with_section(f"# Reliability\n\n{BEGIN}\nfigures\n\n## Below\n", "figures", "make soak")


def test_a_page_has_its_own_title_and_sections_of_several_makers() -> None:
    first = with_section("", "figures", "make bench", PERFORMANCE)
    assert first.startswith("# Performance\n\n<!-- Made by `make bench`,")
    both = with_section(first, "## Pods", "make bench-pods", PERFORMANCE)
    assert both.startswith(first)
    assert with_section(both, "other", "make bench", PERFORMANCE) == both.replace("\nfigures\n", "\nother\n")
