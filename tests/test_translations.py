"""The Chinese pages: stale sections are named, and each command in them stands in the English page."""

import re
from pathlib import Path

import pytest

from ci.translations import MARK, PAGES, main, section
from tests.running import ROOT

PROGRAMS = re.compile(r"(?:    )?(?:(?:\w+=\S+ )*)(?:monopod|make|git|curl|npx|kubectl|pip|docker|python3?) .*")
ENGLISH = (
    "# Cats\nAbove.\n\n## Feed\nOnce a day.\n\n```bash\n# not a heading\n```\n\n### Fish\nOn Fridays.\n\n## Play\nAlways.\n"
)
CHINESE = "# 猫\n<!-- of docs/cats.md -->\n\n## 喂\n<!-- of docs/cats.md: Feed -->\n\n### 鱼\n<!-- of docs/cats.md: Fish -->\n"
TRANSLATED = sorted(path for pattern in PAGES for path in ROOT.glob(pattern))


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """A folder with an English page and its Chinese one, whose digests are right."""
    (tmp_path / "docs/zh").mkdir(parents=True)
    (tmp_path / "docs/cats.md").write_text(ENGLISH)
    (tmp_path / "docs/zh/cats.md").write_text(CHINESE)
    assert main("--renew", root=tmp_path) == 0
    return tmp_path


def change(pages: Path, before: str, after: str) -> None:
    page = pages / "docs/cats.md"
    page.write_text(page.read_text().replace(before, after))


def test_a_page_whose_english_one_is_as_it_was_is_passed_in_silence(pages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(pages, "Always.", "Never.")  # no Chinese section follows this one
    assert main(root=pages) == 0
    assert capsys.readouterr() == ("", "")


def test_a_section_whose_english_one_has_changed_is_a_warning_that_names_it(
    pages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(pages, "On Fridays.", "On Mondays.")
    assert main(root=pages) == 0
    told = capsys.readouterr().out
    assert "docs/zh/cats.md: docs/cats.md, Feed\n" in told  # Fish is a part of it
    assert "docs/zh/cats.md: docs/cats.md, Fish\n" in told
    assert "its beginning" not in told
    assert main("--renew", root=pages) == 0
    assert main(root=pages) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("before", "after"), [("docs/cats.md: Fish", "docs/cats.md: Birds"), ("docs/cats.md: Fish", "docs/dogs.md")]
)
def test_a_section_that_is_not_there_is_a_mistake(
    before: str, after: str, pages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = pages / "docs/zh/cats.md"
    page.write_text(page.read_text().replace(before, after))
    assert main(root=pages) == 1
    assert "there is no such section" in capsys.readouterr().err


def test_figures_that_a_bench_writes_do_not_make_a_section_stale(pages: Path) -> None:
    made = "On Fridays.\n\n<!-- Made by make bench -->\n| 1 |\n"
    change(pages, "On Fridays.", made)
    assert main("--renew", root=pages) == 0
    before = (pages / "docs/zh/cats.md").read_text()
    change(pages, "| 1 |", "| 2 |")
    assert main("--renew", root=pages) == 0
    assert (pages / "docs/zh/cats.md").read_text() == before


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_each_command_in_a_chinese_page_stands_in_the_english_section_that_it_follows(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    marks = list(MARK.finditer(text))
    assert marks
    for mark, end in zip(marks, [*(each.start() for each in marks[1:]), len(text)], strict=True):
        english = section((ROOT / mark["page"]).read_text(encoding="utf-8"), mark["heading"] or "")
        assert english is not None
        commands = [line for line in text[mark.end() : end].splitlines() if PROGRAMS.fullmatch(line)]
        told = {re.sub(r"\s+#.*", "", line).strip() for line in english.splitlines()}
        assert [line for line in commands if re.sub(r"\s+#.*", "", line).strip() not in told] == []
