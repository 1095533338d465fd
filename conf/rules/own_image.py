"""The check of what a service adds to the platform's image: its lists of packages, and the stages of its service.Dockerfile.

src/packages.txt is Debian's list, and src/requirements.txt Python's. A word there that begins with `-` would be an option, and
options of apt and pip run programs or read other files of the build.

service.Dockerfile stands upon the platform's image, and changes no way to run it. It is read, and never built. docker and
buildah differ in some rare forms, such as heredocs. Such a form is refused, since a line that this module takes for text could
be an instruction to a builder.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

# Debian Policy 5.6.1, then an architecture, and a version (5.6.12) or a release.
DEBIAN = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+](:[a-z0-9-]+)?(=[A-Za-z0-9.+:~-]+|/[a-z0-9-]+)?")
# Options of pip that name further files, as its page on the requirements file format lists them. A build does not have those.
FILES = re.compile(r"-[rce]|--(requirement|constraint|editable)(?=[\s=]|$)")
PIP_OPTIONS = ("--extra-index-url", "--no-binary", "--only-binary", "--prefer-binary", "--pre", "--require-hashes")
LOCAL = re.compile(r"(file:|[./~])|[\w.-]+/|[^@\s]*\.(whl|tar\.gz|zip)$|.*@\s*file:", re.IGNORECASE)
FILE = "service.Dockerfile"
USER = "65532:65532"
FOLDER = "/app"
FROM = re.compile(r"\$\{PLATFORM_IMAGE\}(?:\s+[Aa][Ss]\s+(?P<name>[a-z][a-z0-9._-]*))?")
ARG = re.compile(r"(?P<name>[A-Za-z_]\w*)(?:=(?:\"[^\"\\]*\"|'[^'\\]*'|[^\s\"'\\]*))?", re.ASCII)
PAIR = re.compile(r"(?P<name>[A-Za-z_]\w*)=(?:\"[^\"\\]*\"|'[^'\\]*'|[^\s\"'\\]*)(?:\s+|$)", re.ASCII)
DIRECTIVE = re.compile(r"\s*#\s*\w+\s*=")
COPY_OPTION = re.compile(r"--(?:from=[\w.-]+|chown=[\w.:-]+|chmod=[\w,+=-]+|link)", re.ASCII)
PLATFORM_ENV = re.compile(r"PATH|HOME|(?:PYTHON|MONOPOD_|LD_)\w*")
ALLOWED = ("ARG", "FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR")


class Instruction(NamedTuple):
    """An instruction with its first line. name: in upper case. rest: its lines joined, without continuations and comments."""

    line: int
    name: str
    rest: str


def package_mistakes(service: Path) -> list[str]:
    """Return a sentence for each line of a service's two lists that a build cannot take. service: its folder."""
    found = []
    for name, wrong in (("packages.txt", _wrong_debian), ("requirements.txt", _wrong_python)):
        try:
            lines = (service / "src" / name).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError):
            found.append(f"src/{name}: cannot be read as text; it must be a plain file in UTF-8")
            continue
        found += [f"src/{name}:{number}: {words}" for number, line in _joined(lines) for words in wrong(line)]
    return found


def _joined(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield each line with its number, joined with those that it goes on in, as pip does. apt's list has no such lines."""
    begun, parts = 1, list[str]()
    for number, line in enumerate([*lines, ""], 1):
        begun = begun if parts else number
        parts.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            yield begun, "".join(parts)
            parts = []


def _wrong_debian(line: str) -> Iterator[str]:
    for word in line.partition("#")[0].split():
        if not DEBIAN.fullmatch(word):
            yield f"{word!r} is not a package of Debian; write names, such as libgl1 or tar=1.34+dfsg-1.2, and no options"


def _wrong_python(line: str) -> Iterator[str]:
    said = re.sub(r"(^|\s)#.*", "", line).strip()
    option = said.partition(" ")[0].partition("=")[0]
    if FILES.match(said):
        yield f"{said!r} reads another file, which the image's build does not have; write the packages of that file here"
    elif said.startswith("-") and option not in PIP_OPTIONS:
        yield f"{said!r} is an option that a build does not take; it takes {', '.join(PIP_OPTIONS)}"
    elif "${" in said:
        yield f"{said!r} names a variable of the build; write the package without it"
    elif LOCAL.match(said):
        yield f"{said!r} is a file or a folder; write name==version, and give the build an index that has it (PIP_INDEX_URL)"


def service_dockerfile_mistakes(service: Path) -> list[str]:
    """Return a sentence for each mistake in a service's Dockerfile, with its line. service: its folder, with or without one."""
    file = service / FILE
    if not file.exists() and not file.is_symlink():
        return []
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return [f"{FILE}: cannot be read as text; it must be a plain file in UTF-8"]
    return [f"{FILE}:{line}: {words}" for line, words in sorted(mistakes(text))]


def mistakes(text: str) -> Iterator[tuple[int, str]]:
    """Yield what is wrong with the text of a service's Dockerfile, each with its line."""
    lines = text.split("\n")
    unclear = list(_unclear(lines))
    yield from unclear
    if unclear:
        return  # the instructions cannot be told then
    found = list(_instructions(lines))
    if not found or found[0][1:] != ("ARG", "PLATFORM_IMAGE"):
        yield (found[0].line if found else 1), "the first instruction must be ARG PLATFORM_IMAGE, without a default"
    starts = [index for index, each in enumerate(found) if each.name == "FROM"]
    if not starts:
        yield len(lines), "has no stage; write FROM ${PLATFORM_IMAGE} after ARG PLATFORM_IMAGE"
    stages: list[str] = []
    for index, each in enumerate(found):
        if each.name == "FROM":
            named = FROM.fullmatch(each.rest)
            stages.append((named and named["name"]) or "")
        elif not stages and index:
            yield each.line, f"{each.name} stands before the first FROM; only ARG PLATFORM_IMAGE may"
        yield from ((each.line, words) for words in _wrong(each, stages, first=not index))
    yield from _changed(found[starts[-1] :] if starts else ())


def _unclear(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield lines that builders read in different ways, and comments that give a builder orders."""
    within = began = False
    for number, line in enumerate(lines, 1):
        comment = line.lstrip().startswith("#")
        if not line.replace("\t", " ").isprintable():
            yield number, "holds a character that is not printed, such as a carriage return; write plain lines"
        if not began and comment and DIRECTIVE.match(line):
            yield (number, "a comment such as # syntax= gives orders to the builder; delete it")
        if within and (not line.strip() or (comment and line[0] != "#")):
            yield (number, "an empty line or an indented comment within an instruction; delete it, or unindent the comment")
        if comment:
            continue
        began = began or bool(line.strip())
        ending = line.rstrip(" \t")
        if ending.endswith("\\\\"):
            yield number, "ends in two backslashes, which builders read in two ways; end it in one, or in none"
        within = ending.endswith("\\")


def _instructions(lines: Sequence[str]) -> Iterator[Instruction]:
    begun, parts = 0, list[str]()
    for number, line in enumerate([*lines, ""], 1):
        if line.lstrip().startswith("#") or (not parts and not line.strip()):
            continue
        begun = begun if parts else number
        ending = line.rstrip(" \t")
        parts.append(ending.removesuffix("\\"))
        if not ending.endswith("\\"):
            name, _, rest = "".join(parts).replace("\t", " ").strip().partition(" ")
            yield Instruction(begun, name.upper(), rest.strip())
            parts = []


def _wrong(each: Instruction, stages: Sequence[str], first: bool) -> Iterator[str]:
    """Yield what is wrong with one instruction. stages: the names of the stages so far, its own last, "" for one without."""
    if each.name == "COPY":
        yield from _wrong_options(each.rest.split(), stages[:-1])
    if each.name == "ADD":
        yield "ADD may read addresses and repositories; write COPY, and RUN tar for an archive"
    elif each.name not in ALLOWED:
        yield f"{each.name} is not for a service: the platform's image says how it runs; write {', '.join(ALLOWED)} alone"
    elif each.name in ("RUN", "COPY") and "<<" in each.rest:
        yield "<< begins a heredoc, which some builders do not know; put the text into a file of src/, and COPY it"
    elif each.name == "FROM" and not FROM.fullmatch(each.rest):
        yield "every stage stands upon the platform's image; write FROM ${PLATFORM_IMAGE}, or FROM ${PLATFORM_IMAGE} AS build"
    elif each.name == "RUN" and each.rest.startswith("--"):
        yield "RUN takes no options here, such as --mount or --network; delete them, and COPY --from= an earlier stage"
    elif each.name == "ENV" and "".join(match[0] for match in PAIR.finditer(each.rest)) != each.rest:
        yield 'ENV must be written as NAME=value or NAME="some words", without backslashes'
    elif each.name == "ARG" and not first and (not (named := ARG.fullmatch(each.rest)) or named["name"] == "PLATFORM_IMAGE"):
        yield "ARG takes one NAME or NAME=value, and PLATFORM_IMAGE stands in the first instruction alone"


def _wrong_options(words: Sequence[str], earlier: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the options of a COPY. earlier: the names of the stages before its own."""
    for word in words:
        source = word.removeprefix("--from=")
        known = source in earlier or (source.isascii() and source.isdigit() and int(source[:9]) < len(earlier))
        if word.startswith("--") and not COPY_OPTION.fullmatch(word):
            yield f"COPY takes --from, --chown, --chmod and --link here, without quotes and variables, and not {word}"
        elif word.startswith("--from=") and not known:
            yield f"COPY --from={source} names no earlier stage of this file; begin one with FROM ${{PLATFORM_IMAGE}} AS build"


def _changed(last: Sequence[Instruction]) -> Iterator[tuple[int, str]]:
    """Yield what the last stage leaves different from the platform's image."""
    ends = {each.name: each for each in last}
    if (user := ends.get("USER")) and user.rest != USER:
        yield user.line, f"the last stage ends as another user; write USER {USER} after this stage's last RUN"
    if (folder := ends.get("WORKDIR")) and folder.rest != FOLDER:
        yield folder.line, f"the last stage ends in another folder; write WORKDIR {FOLDER} after it"
    for each in last:
        for match in PAIR.finditer(each.rest) if each.name == "ENV" else ():
            if PLATFORM_ENV.fullmatch(match["name"]):
                yield each.line, f"{match['name']} is the platform's: PATH, HOME, PYTHON*, MONOPOD_* and LD_* stay as they are"
