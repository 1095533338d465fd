"""Reads a README's curl lines and the answers below them, which `...` shortens, and compares them with real answers."""

import re

import pytest

NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
LEFT_OUT = re.compile(r",?\s*\.\.\.,?")
LIVE = ("/stats", "/health")  # routes whose figures change with each request
CLOSE = 0.02  # relative or absolute, since processors differ in the last digits


def curls(readme: str) -> list[tuple[str, str]]:
    """Return each curl line, joined where it is continued by \\, with the answer below it, or ""."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"(?:^    .*\n)+|```\w*\n(?:.*\n)*?```", readme, re.MULTILINE):
        for line in map(str.strip, block.replace("\\\n", " ").splitlines()):
            if line.startswith("curl "):
                found.append((line, ""))
            elif found and (line.startswith("{") or found[-1][1].count("{") > found[-1][1].count("}")):
                found[-1] = (found[-1][0], found[-1][1] + line)
    return found


def check_shown(line: str, shown: str, answer: str) -> None:
    """Fail unless an answer has the keys and texts that a README shows and, except on live routes, its numbers."""
    parts = [re.sub(NUMBER, "\0", part) for part in LEFT_OUT.split(shown)]
    pattern = ".*?".join(re.escape(part).replace("\0", f"({NUMBER})") for part in parts)
    found = re.fullmatch(pattern, answer.strip(), re.DOTALL)
    assert found, f"{line}\nis answered by\n{answer[:2000]}\nthe README shows\n{shown}"
    if not line.endswith(LIVE):
        given, told = map(float, found.groups()), map(float, re.findall(NUMBER, LEFT_OUT.sub(" ", shown)))
        assert list(given) == pytest.approx(list(told), rel=CLOSE, abs=CLOSE), line
