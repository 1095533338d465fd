"""The check of the templates in an alert's labels and annotations, as Prometheus reads them: Go's text templates.

Knows the functions that Prometheus offers and how blocks nest. Does not evaluate a template. Prometheus refuses a whole file of
rules for one such mistake, and so the operator loads none of a service's alerts.
"""

import re
from collections.abc import Iterator

ACTION = re.compile(r'\{\{-?(?P<code>(?:"(?:\\.|[^"\\\n])*"|`[^`]*`|/\*.*?\*/|[^"`}]|\}(?!\}))*?)-?\}\}', re.DOTALL)
NO_CODE = re.compile(r'"(?:\\.|[^"\\\n])*"|`[^`]*`|/\*.*?\*/', re.DOTALL)
VARIABLE = re.compile(r"\$\w+")
SET = re.compile(r"\$\w+(?=\s*(?:,\s*\$\w+\s*)?:=)")
WORD = re.compile(r"(?<![\w.$])[A-Za-z_]\w*")
VARIABLES = frozenset({"$labels", "$value", "$externalLabels", "$externalURL"})
OPENING = frozenset({"if", "range", "with", "define", "block"})
KEYWORDS = OPENING | {"else", "end", "template", "break", "continue", "true", "false", "nil"}
GO = "and or not len index slice print printf println html js urlquery eq ne lt le gt ge call"
PROMETHEUS = (
    "query first label value strvalue args reReplaceAll safeHtml match title toUpper toLower graphLink tableLink sortByLabel"
    " stripPort stripDomain humanize humanize1024 humanizeDuration humanizePercentage humanizeTimestamp toTime toDuration now"
    " pathPrefix externalURL parseDuration tmpl urlQueryEscape"
)
FUNCTIONS = frozenset({*GO.split(), *PROMETHEUS.split()})


def template_mistakes(text: str) -> list[str]:
    """Return what is wrong with the templates of a text, none for a good one."""
    return list(dict.fromkeys(_mistakes(text)))


def _mistakes(text: str) -> Iterator[str]:
    if "{{" in ACTION.sub("", text):
        yield "a {{ is not closed by }}"
        return
    codes = [NO_CODE.sub(" 0 ", found["code"]) for found in ACTION.finditer(text)]
    known, depth = set(VARIABLES), 0
    for code, found in zip(codes, ACTION.finditer(text), strict=True):
        if not found["code"].strip():
            yield "{{ }} is empty"
        known.update(SET.findall(code))
        strange = [name for name in VARIABLE.findall(code) if name not in known]
        yield from (f"there is no {name}; known are {', '.join(sorted(VARIABLES))}" for name in strange)
        words = WORD.findall(code)
        yield from (f"there is no function {word}" for word in words if word not in FUNCTIONS | KEYWORDS)
        first = words[0] if words else ""
        depth += (first in OPENING) - (first == "end")
        if depth < 0 or (first == "else" and not depth):
            yield f"{{{{ {first} }}}} ends no block"
            return
    if depth:
        yield "a block has no {{ end }}"
