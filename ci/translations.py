"""Names the sections of the Chinese pages whose English sections have changed: translations.py [--renew].

Each section of a Chinese page has a comment: the English page and heading that it follows, and a digest of those. A stale
section is a warning, a page or a heading that is not there a mistake. With --renew, all digests are written anew.
"""

import hashlib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.zh.md", "docs/zh/*.md")
MARK = re.compile(r"<!-- of (?P<page>[\w./-]+\.md)(?:: (?P<heading>.*?))?(?:, (?P<digest>[0-9a-f]{12}))? -->")
MADE = re.compile(r"<!-- Made by .*?(?=\n#|\Z)", re.DOTALL)  # figures that a bench writes; they change no sentence


def section(text: str, heading: str) -> str | None:
    """Return a section with those below it, or the page up to its first section where heading is "". None: it lacks it."""
    found: list[str] = []
    level, fenced = 0 if heading else 2, False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        marks = 0 if fenced else len(line) - len(line.lstrip("#"))
        if level and 0 < marks <= level and (heading or marks == level):
            break
        level = marks if marks and line.lstrip("# ") == heading else level
        found += [line] if level else []
    return "\n".join(found) if found else None


def digest(text: str) -> str:
    return hashlib.sha256(MADE.sub("", text).encode()).hexdigest()[:12]


def main(*arguments: str, root: Path = ROOT) -> int:
    stale, wrong = [], []
    for page in sorted(path for pattern in PAGES for path in root.glob(pattern)):
        text = page.read_text(encoding="utf-8")
        for mark in MARK.finditer(text):
            english, name = (
                root / mark["page"],
                f"{page.relative_to(root)}: {mark['page']}, {mark['heading'] or 'its beginning'}",
            )
            found = section(english.read_text(encoding="utf-8"), mark["heading"] or "") if english.is_file() else None
            if found is None:
                wrong.append(f"{name}: there is no such section; name one that is there")
            elif mark["digest"] != digest(found):
                stale.append(name)
                renewed = f"<!-- of {mark['page']}{': ' + mark['heading'] if mark['heading'] else ''}, {digest(found)} -->"
                text = text.replace(mark[0], renewed)
        if "--renew" in arguments:
            page.write_text(text, encoding="utf-8")
    if stale and "--renew" not in arguments:
        print("warning: these English sections have changed since they were translated:", *stale, sep="\n    ")
        print("bring the Chinese ones up to date, then run: python3 ci/translations.py --renew")
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
