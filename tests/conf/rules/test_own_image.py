"""What a service adds to the image: stages upon the platform's, and packages. All else is refused, with its line and a cure."""

from pathlib import Path

import pytest

from conf.clusters import regions
from conf.rules.check import check
from conf.rules.own_image import FILE, mistakes, package_mistakes, service_dockerfile_mistakes
from tests.running import ROOT

HEAD = "ARG PLATFORM_IMAGE\nFROM ${PLATFORM_IMAGE}\n"
TWO = "ARG PLATFORM_IMAGE\nFROM ${PLATFORM_IMAGE} AS build\nRUN make\nFROM ${PLATFORM_IMAGE}\n"
ACCEPTED = {
    "a stage alone": HEAD,
    "instructions in lower case": "arg PLATFORM_IMAGE\nfrom ${PLATFORM_IMAGE} as build\nrun true\nFrom ${PLATFORM_IMAGE}\n",
    "a comment above": "# Codecs of ours\n\n" + HEAD,
    "a comment like a directive below": HEAD + "# syntax=none\nRUN true\n",
    "continuation lines with comments": HEAD + "RUN apt-get update \\\n# then\n    && true\n",
    "a directive's words within an instruction": HEAD + "RUN true \\\n# syntax=none\n && true\n",
    "spaces after a backslash": HEAD + "RUN true \\  \n && true\n",
    "a build stage as root": TWO.replace("RUN make", "USER root\nWORKDIR /build\nENV PATH=/build\nRUN make"),
    "a copy of a stage by name": TWO + "COPY --from=build --chown=0:0 --chmod=755 /a /b\n",
    "a copy of a stage by number": TWO + "COPY --from=0 /a /b\n",
    "root, and the platform's user at the end": HEAD + "USER root\nRUN true\nUSER 65532:65532\n",
    "another folder, and the platform's at the end": HEAD + "WORKDIR /build\nRUN true\nWORKDIR /app\n",
    "environment of its own": HEAD + "ENV CODEC=fast WORDS=\"a PATH=b\" OTHER='c d'\n",
    "an argument of its own": HEAD + 'ARG VERSION=1.2\nARG WORDS="a b"\nRUN echo $VERSION\n',
    "a copy as JSON": HEAD + 'COPY ["src/a b", "/c/"]\n',
    "an option of a program": HEAD + "RUN apt-get install --yes --mount=x\n",
    "no line feed at the end": HEAD + "RUN true",
}
REFUSED = {
    "an empty file": ("", 1, "first instruction"),
    "no argument": ("FROM ${PLATFORM_IMAGE}\n", 1, "first instruction"),
    "a default": ("ARG PLATFORM_IMAGE=evil\nFROM ${PLATFORM_IMAGE}\n", 1, "first instruction"),
    "no stage": ("ARG PLATFORM_IMAGE\n", 2, "no stage"),
    "a second argument above": ("ARG PLATFORM_IMAGE\nARG X\nFROM ${PLATFORM_IMAGE}\n", 2, "before the first FROM"),
    "the argument again": (HEAD + "ARG PLATFORM_IMAGE=evil\n", 3, "first instruction alone"),
    "two arguments in one": (HEAD + "ARG X PLATFORM_IMAGE=evil\n", 3, "ARG takes one"),
    "another image": ("ARG PLATFORM_IMAGE\nFROM debian\n", 2, "every stage"),
    "another image for a later stage": (HEAD + "FROM debian\n", 3, "every stage"),
    "an earlier stage": (TWO + "FROM build\n", 5, "every stage"),
    "a default in the variable": ("ARG PLATFORM_IMAGE\nFROM ${PLATFORM_IMAGE:-evil}\n", 2, "every stage"),
    "a tail to the variable": ("ARG PLATFORM_IMAGE\nFROM ${PLATFORM_IMAGE}2\n", 2, "every stage"),
    "a platform": ("ARG PLATFORM_IMAGE\nFROM --platform=linux/arm64 ${PLATFORM_IMAGE}\n", 2, "every stage"),
    "another image by a continuation": ("ARG PLATFORM_IMAGE\nFR\\\nOM deb\\\nian\n", 2, "every stage"),
    "a syntax": ("# syntax=evil/frontend\n" + HEAD, 1, "# syntax="),
    "a syntax in other letters": ("#  SYNTAX = evil/frontend\n" + HEAD, 1, "# syntax="),
    "a syntax after a line for the shell": ("#!/bin/sh\n#syntax=evil/frontend\n" + HEAD, 2, "# syntax="),
    "a syntax behind slashes": ("// syntax=evil/frontend\n" + HEAD, 1, "first instruction"),
    "a syntax as JSON": ('{"syntax": "evil/frontend"}\n' + HEAD, 1, "first instruction"),
    "another escape": ("# escape=`\n" + HEAD, 1, "# syntax="),
    "a directive of checks": ("# check=skip=all\n" + HEAD, 1, "# syntax="),
    "a byte order mark": ("\ufeff# syntax=evil\n" + HEAD, 1, "not printed"),
    "a carriage return": (HEAD + "RUN true\r\n", 3, "not printed"),
    "a mounted secret": (HEAD + "RUN --mount=type=secret,id=pip cat /run/secrets/pip\n", 3, "no options"),
    "a mounted agent": (HEAD + "run --mount=type=ssh ssh-add -l\n", 3, "no options"),
    "a shared cache": (HEAD + "RUN \\\n  --mount=type=cache,target=/root/.cache true\n", 3, "no options"),
    "a mounted image": (HEAD + "RUN\t--mount=from=evil,target=/x true\n", 3, "no options"),
    "a network": (HEAD + "RUN --network=host true\n", 3, "no options"),
    "a right": (HEAD + "RUN --security=insecure true\n", 3, "no options"),
    "a heredoc": (HEAD + "RUN <<EOF\nFROM debian\nEOF\n", 3, "heredoc"),
    "a copied heredoc": (HEAD + "COPY <<EOF /a\n", 3, "heredoc"),
    "an address": (HEAD + "ADD https://example.com/x /x\n", 3, "ADD"),
    "a repository": (HEAD + "ADD git@example.com:a/b.git /x\n", 3, "ADD"),
    "a copy of an image": (TWO + "COPY --from=docker.io/evil /a /b\n", 5, "not --from=docker.io/evil"),
    "a copy of an image by a plain name": (TWO + "COPY --from=evil /a /b\n", 5, "no earlier stage"),
    "a copy of its own stage": (TWO + "COPY --from=1 /a /b\n", 5, "no earlier stage"),
    "a copy of a stage by a variable": (TWO + "COPY --from=$X /a /b\n", 5, "without quotes"),
    "a copy with quotes in its option": (TWO + 'COPY --fr"om"=evil /a /b\n', 5, "without quotes"),
    "another user at the end": (HEAD + "USER 65532:65532\nUSER root\nRUN true\n", 4, "USER 65532:65532"),
    "another folder at the end": (HEAD + "WORKDIR /tmp\n", 3, "WORKDIR /app"),
    "a library before all others": (HEAD + "ENV LD_PRELOAD=/evil.so\n", 3, "LD_PRELOAD is the platform's"),
    "Python's path, second": (HEAD + 'ENV A="b c" PYTHONPATH=/evil\n', 3, "PYTHONPATH is the platform's"),
    "a setting of the platform": (HEAD + "ENV MONOPOD_X=1\n", 3, "MONOPOD_X is the platform's"),
    "environment in the old form": (HEAD + "ENV PATH /evil\n", 3, "ENV must be"),
    "environment named by a variable": (HEAD + "ENV $X=/evil\n", 3, "ENV must be"),
    "environment behind a backslash": (HEAD + "ENV A=b\\ PATH=/evil\n", 3, "ENV must be"),
    "two backslashes": (HEAD + "RUN true \\\\\nFROM debian\n", 3, "two backslashes"),
    "an empty line within": (HEAD + "RUN true \\\n\n && true\n", 4, "an empty line"),
    "an indented comment within": (HEAD + "RUN true \\\n  # why\n && true\n", 4, "indented comment"),
    "an unknown instruction": (HEAD + "INCLUDE x\n", 3, "INCLUDE is not"),
}


def told(text: str) -> list[tuple[int, str]]:
    return list(mistakes(text))


@pytest.mark.parametrize("text", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_stages_upon_the_platforms_image_are_accepted(text: str) -> None:
    assert told(text) == []


@pytest.mark.parametrize(("text", "line", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_leaves_the_platforms_image_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    assert [each for each in told(text) if each[0] == line and words in each[1]], told(text)


@pytest.mark.parametrize(
    "name", ["ENTRYPOINT", "CMD", "EXPOSE", "LABEL", "HEALTHCHECK", "STOPSIGNAL", "VOLUME", "ONBUILD", "SHELL", "MAINTAINER"]
)
def test_what_the_platform_says_of_its_process_stays(name: str) -> None:
    assert [line for line, words in told(f"{HEAD}{name.lower()} x\n") if words.startswith(f"{name} is not for a service")] == [
        3
    ]


def test_the_check_of_a_service_reads_its_dockerfile(tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text((ROOT / "value.py").read_text())
    (tmp_path / FILE).write_text(HEAD + "USER root\n")
    (found,) = [
        words for words in check(tmp_path, regions.load(ROOT / "conf" / "regions.yaml")).mistakes if words.startswith(FILE)
    ]
    assert found.startswith("service.Dockerfile:3: the last stage ends as another user; write USER 65532:65532")


def test_a_dockerfile_that_is_no_text_is_refused(tmp_path: Path) -> None:
    assert service_dockerfile_mistakes(tmp_path) == []
    (tmp_path / FILE).write_bytes(b"\xff")
    assert service_dockerfile_mistakes(tmp_path) == [
        "service.Dockerfile: cannot be read as text; it must be a plain file in UTF-8"
    ]
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()
    assert "cannot be read as text" in service_dockerfile_mistakes(tmp_path)[0]


def said(folder: Path, name: str, text: str | bytes) -> list[str]:
    (folder / "src").mkdir(exist_ok=True)
    (folder / "src" / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return package_mistakes(folder)


@pytest.mark.parametrize(
    "line", ["libgl1", "g++  # a compiler", "# nothing", "", "libc6:amd64 ffmpeg=7:5.1.6-0+deb12u1", "tar/bookworm"]
)
def test_names_of_debians_packages_with_a_version_or_a_comment_are_taken(line: str, tmp_path: Path) -> None:
    assert said(tmp_path, "packages.txt", f"{line}\n") == []


@pytest.mark.parametrize(
    "word",
    [
        "-o",
        "--allow-unauthenticated",
        "APT::Update::Pre-Invoke::=id",
        "$(id)",
        "./a.deb",
        "/run/secrets/pip",
        "Libgl1",
        "*",
        "a;id",
        "bash-",
    ],
)
def test_any_other_word_is_named_with_its_line(word: str, tmp_path: Path) -> None:
    (found,) = said(tmp_path, "packages.txt", f"libgl1\nlibglib2.0-0 {word}\n")
    assert found.startswith(f"src/packages.txt:2: {word!r} is not a package of Debian")


@pytest.mark.parametrize(
    "line",
    [
        *(
            "numpy==2.1.0",
            "# a comment",
            "",
            'tokenizers==0.20; python_version < "3.13"',
            "pillow[xmp]>=11  # pictures",
            "e-mail==1",
        ),
        *(
            "--extra-index-url https://wheels.example.com/cu12",
            "--no-binary numpy",
            "torch @ https://wheels.example.com/t-1.whl",
        ),
    ],
)
def test_packages_of_an_index_and_options_that_read_no_file_are_taken(line: str, tmp_path: Path) -> None:
    assert said(tmp_path, "requirements.txt", f"{line}\n") == []


OPTIONS = (
    "-\\",
    "-f /run/secrets",
    "--find-links=/etc",
    "--req more.txt",
    "-i https://x",
    "--trusted-host x",
    "--global-option=x",
)
READS = ("-r /run/secrets/pip", "-r/run/secrets/pip", "-c more.txt", "--constraint=more.txt", "--requirement more.txt", "-e .")
LOCAL = (".", "vendor/x", "./wheels/a.whl", "/etc", "file:///etc", "a @ file:///etc", "a-1.whl", "~/a")


@pytest.mark.parametrize(
    ("line", "why"), [*((line, "reads another file") for line in READS), *((line, "is a file or a folder") for line in LOCAL)]
)
def test_a_line_that_reads_other_files_is_named_with_what_to_write(line: str, why: str, tmp_path: Path) -> None:
    (found,) = said(tmp_path, "requirements.txt", f"numpy==2.1.0\n{line}\n")
    assert found.startswith(f"src/requirements.txt:2: {line!r} {why}")


def test_lines_that_go_on_are_read_as_pip_reads_them(tmp_path: Path) -> None:
    assert said(tmp_path, "requirements.txt", f"numpy==2.1.0 \\\n    --hash=sha256:{64 * 'a'}\n") == []
    (found,) = said(tmp_path, "requirements.txt", "numpy==2.1.0\n-\\\nr /run/secrets/pip\n")
    assert found.startswith("src/requirements.txt:2: '-r /run/secrets/pip' reads another file")


def test_a_list_that_is_not_text_is_named(tmp_path: Path) -> None:
    assert said(tmp_path, "packages.txt", b"\xff\xfe") == [
        "src/packages.txt: cannot be read as text; it must be a plain file in UTF-8"
    ]


def test_the_lists_of_the_examples_are_taken() -> None:
    for example in (ROOT / "examples").iterdir():
        assert package_mistakes(example) == []
