"""Reads the `monopod bench` lines of a README's `## Speed` block, runs them, and writes their figures below them."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.served import BenchError
from bench.work import ROOT

BLOCK = re.compile(r"^## Speed *\n(?:(?!#|```)[^\n]*\n)*```\w*\n(?P<lines>(?:(?!```)[^\n]*\n)*)```[^\n]*\n", re.MULTILINE)
PLACE = re.compile(r"https?://(localhost|127\.0\.0\.1):8080")
SENDS = ("--file", "--image", "--data", "--form")
LONGEST = 60  # characters shown of each text that is sent
MEASURED = "Measured on "  # a line of figures begins with it, and a table's lines with |


def lines(readme: Path) -> list[str]:
    """Return the bench lines of a README, `monopod bench` itself left out. Raises BenchError where there is none."""
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    found = BLOCK.search(text)
    whole = found["lines"].replace("\\\n", " ").splitlines() if found else []
    bench = [line.partition("monopod bench ")[2].strip() for line in whole if "monopod bench " in line]
    if not bench:
        raise BenchError(f"{readme}: has no `monopod bench` line in a fenced block under `## Speed`; it says what to measure")
    return bench


def with_figures(text: str, figures: str) -> str:
    """Return a README's text with figures between the block and the next heading, in the place of older ones."""
    found = BLOCK.search(text)
    assert found
    rest = text[found.end() :]
    heading = re.search(r"^#", rest, re.MULTILINE)
    between, after = (rest[: heading.start()], rest[heading.start() :]) if heading else (rest, "")
    kept = [line for line in between.splitlines() if not line.startswith(("|", MEASURED))]
    words = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
    parts = [figures.strip(), *([words] if words else [])]
    return text[: found.end()] + "\n" + "\n\n".join(parts) + "\n" + ("\n" + after if after else "")


def start(line: str, url: str, path: str, *more: str) -> "subprocess.Popen[str]":
    """Start a bench line against a server.

    url: the server's, instead of localhost:8080. path: for a line that names no URL.
    """
    arguments = [PLACE.sub(url, word) for word in shlex.split(line)]
    if not any(word.startswith("--url") for word in arguments):
        arguments += ["--url", url + path]
    command = [sys.executable, "-m", "monopod", "bench", *arguments, *more, "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def told(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Return the figures of a bench line, from its --json. Raises BenchError where it could not measure."""
    try:
        said, _ = process.communicate()
    finally:
        process.terminate()  # after Ctrl-C the load would go on alone
    found: dict[str, Any] = json.loads(said or "{}")
    if "kinds" not in found:
        words = "; ".join(found.get("mistakes", [])) or "what is wrong is above"
        raise BenchError(f"monopod bench exits with {process.returncode}: {words}")
    return found


def about(found: dict[str, Any]) -> str:
    """Return a few words about how a service was loaded."""
    load = found["load"]
    if load["rate"]:
        return f"{load['rate']:g} requests a second"
    return f"{load['concurrency']} connection" + ("" if load["concurrency"] == 1 else "s")


def sends(line: str) -> str:
    """Return a few words about what a bench line sends: the names of its files, and its texts."""
    words = [part for word in shlex.split(line) for part in (word.split("=", 1) if word.startswith("--") else [word])]
    sent = [words[place + 1] for place, word in enumerate(words[:-1]) if word in SENDS]
    names = [re.sub(r"^(\w+=)?@?/?(?:[\w.-]+/)*([\w.-]+)$", r"\1\2", one) for one in sent]
    return ", ".join(name if len(name) <= LONGEST else name[: LONGEST - 3] + "..." for name in names) or "nothing"
