"""value.py is cut into statements, where anything but an assignment of a literal is a mistake. No Python is ever run."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.settings.value_parser import Assignment, Mistake, assignments


def found(text: str) -> list[Assignment | Mistake]:
    return list(assignments(text))


def messages(text: str) -> list[tuple[int, str]]:
    return [(f.line, f.message) for f in found(text) if isinstance(f, Mistake)]


def test_assignments_of_literals_are_yielded_with_their_lines() -> None:
    text = (
        '"""A service."""\n# a comment\ncpu = 2  # cores\n\nmemory = "4Gi"; gpu_memory = -1.5\ntable = {\n  "a": [1, 2],\n}\n'
    )
    assert found(text) == [
        Assignment("cpu", 2, 3),
        Assignment("memory", "4Gi", 5),
        Assignment("gpu_memory", -1.5, 5),
        Assignment("table", {"a": [1, 2]}, 6),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_counts(end: str) -> None:
    assert found(f"a = 1{end}b ={end}c = 3{end}") == [
        Assignment("a", 1, 1),
        Mistake(2, "b has no value", "b"),
        Assignment("c", 3, 3),
    ]


def test_a_line_that_is_not_python_hides_no_other() -> None:
    text = "a = 1\nthis was nothing\nb = {\n  'x': 1,\n}\nc =  # nothing\nd = '''two\nlines'''\ne = 5\n"
    assert [f.line for f in found(text)] == [1, 2, 3, 6, 7, 9]
    assert [f for f in found(text) if isinstance(f, Assignment)] == [
        Assignment("a", 1, 1),
        Assignment("b", {"x": 1}, 3),
        Assignment("d", "two\nlines", 7),
        Assignment("e", 5, 9),
    ]
    line, words = messages(text)[0]
    assert line == 2
    assert words.startswith("not Python: invalid syntax; ")


def test_an_open_text_is_told_without_the_line_that_python_counts_from_the_statement() -> None:
    ((line, words),) = messages('a = 1\nb = "4Gi\n')
    assert line == 2
    assert words.startswith("not Python: unterminated string")


def test_an_open_bracket_does_not_hide_the_rest() -> None:
    text = "a = [1,\nb = 2\nc = 3\n"
    assert found(text)[1:] == [Assignment("b", 2, 2), Assignment("c", 3, 3)]
    assert "never closed" in messages(text)[0][1]


@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "del cpu",
        "x: int = 1",
        "a = b = 1",
        "a, b = 1, 2",
        "a.b = 1",
        "a[0] = 1",
        "a += 1",
        "print(1)",
        "(a := 1)",
        "1",
        "if True: a = 1",
        "for a in (): pass",
        "def f(): pass",
        "class A: pass",
        "lambda: 1",
        "f'text'",
    ],
)
def test_only_plain_assignments_may_stand_there(line: str) -> None:
    ((number, words),) = messages(line)
    assert number == 1
    assert words.startswith("only lines of the form name = value ")


@pytest.mark.parametrize(
    "value", ["b", "f()", "1 + 1", "[x for x in y]", "f'{1}'", "{[]: 1}", "not True", "__import__('os')", "lambda: 1", "a.b"]
)
def test_only_literals_may_be_values(value: str) -> None:
    (mistake,) = found(f"a = {value}")
    assert isinstance(mistake, Mistake)
    assert mistake.missing == "a"
    assert mistake.message.startswith("a must be a literal")


def test_nothing_is_ever_executed(tmp_path: Path) -> None:
    trap = f"{tmp_path}/trap"
    for code in (
        f"open({trap!r}, 'w')",
        f"a = open({trap!r}, 'w')",
        f"a = [open({trap!r}, 'w')]",
        f"@open({trap!r}, 'w')\ndef f(): 0",
    ):
        assert all(isinstance(f, Mistake) for f in found(code))
        assert all(isinstance(f, Mistake) for f in found(code + "\nbroken line\n"))
    assert not Path(trap).exists()


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "-" * 50_000 + "1",
        "a = " + "[" * 300,
        "a = x" + ".y" * 50_000,
        "a = 1" + "+1" * 20_000,
        "a = 1\0",
        "a = '\ud800'",
    ],
    ids=["minus", "brackets", "dots", "plus", "null", "surrogate"],
)
def test_what_overwhelms_the_parser_is_a_mistake(text: str) -> None:
    assert all(isinstance(f, Mistake) for f in found(text))
    assert found(text)


@pytest.mark.parametrize("line", ["a = (", "x y", "a = '''", "if x:"])
def test_thousands_of_broken_lines_are_read_in_seconds(line: str) -> None:
    began = time.monotonic()
    assert len(found(f"{line}\n" * 3000)) > 10
    assert time.monotonic() - began < 15


def test_an_odd_escape_warns_nobody(recwarn: pytest.WarningsRecorder) -> None:
    assert found(r'a = "\d"') == [Assignment("a", r"\d", 1)]
    assert not recwarn.list


@given(st.text(st.sampled_from("ab=1\n\r\t ()[]{}'\"#\\,:;.*@\0é\ud800"), max_size=60))
def test_any_text_yields_assignments_and_mistakes_on_its_lines(text: str) -> None:
    lines = len(text.splitlines()) + 1
    for one in assignments(text):
        assert 1 <= one.line <= lines


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers() | st.text(max_size=5) | st.booleans()), max_size=5))
def test_what_is_written_is_read_back(pairs: list[tuple[str, object]]) -> None:
    text = "".join(f"{name} = {value!r}\n" for name, value in pairs)
    assert [(f.name, f.value) for f in found(text) if isinstance(f, Assignment)] == pairs
