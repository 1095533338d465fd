"""The layers of a service's own Dockerfile are joined to the platform's image, and nothing else of that build is."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.running import ROOT

PULLED = "application/vnd.docker.image.rootfs.diff.tar.gzip"
ENV = ["PATH=/venv/bin:/bin", "PYTHONPATH=/app/src"]
RUN = {
    "User": "65532:65532",
    "Cmd": ["python", "-m", "monopod", "serve"],
    "Env": ENV,
    "ExposedPorts": {"8080/tcp": {}, "8081/tcp": {}},
    "Labels": {"org.opencontainers.image.revision": "1a2b"},
    "WorkingDir": "/app",
}
Change = Callable[[Path, dict[str, Any], dict[str, Any]], object]


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def image(folder: Path, *layers: bytes, env: tuple[str, ...] = ()) -> None:
    """Write an image in skopeo's folder layout. layers: their content as pulled; "plain" before it stands for unpacked."""
    folder.mkdir()
    config = {
        "created": "2026-11-25T10:00:00Z",
        "architecture": "amd64",
        "os": "linux",
        "config": {**RUN, "Env": [*ENV, *env]},
        "rootfs": {"type": "layers", "diff_ids": [digest(b"plain" + layer) for layer in layers]},
        "history": [{"created_by": layer.decode()} for layer in layers],
    }
    manifest = {
        "schemaVersion": 2,
        "config": {},
        "layers": [{"mediaType": PULLED, "size": len(layer), "digest": digest(layer)} for layer in layers],
    }
    for layer in layers:
        (folder / digest(layer)[7:]).write_bytes(layer)
    written(folder, manifest, config)


def written(folder: Path, manifest: dict[str, Any], config: dict[str, Any]) -> None:
    text = json.dumps(config).encode()
    (folder / digest(text)[7:]).write_bytes(text)
    manifest["config"] = {"size": len(text), "digest": digest(text)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the manifest and the configuration of an image."""
    manifest = json.loads((folder / "manifest.json").read_text())
    return manifest, json.loads((folder / manifest["config"]["digest"][7:]).read_text())


def command(*words: object) -> subprocess.CompletedProcess[str]:
    said = [sys.executable, "-P", str(ROOT / "ci/own_image.py"), *map(str, words)]
    return subprocess.run(said, env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}, capture_output=True, text=True)


def join(folder: Path) -> subprocess.CompletedProcess[str]:
    manifest, config = read(folder / "platform")
    (folder / "manifest").write_text(json.dumps(manifest))
    (folder / "config").write_text(json.dumps(config))
    return command("join", folder / "kept", folder / "manifest", folder / "config", folder / "joined")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the platform's image, and with what a build upon it kept."""
    image(tmp_path / "platform", b"debian", b"monopod")
    image(tmp_path / "whole", b"debian", b"monopod", b"codec", env=("CODEC=/usr/local/lib/libcodec.so",))
    done = command("keep", tmp_path / "whole", tmp_path / "platform/manifest.json", tmp_path / "kept")
    assert (done.returncode, done.stderr) == (0, "")
    return tmp_path


def test_the_layers_of_the_platform_stay_where_they_are_and_those_of_the_service_follow(folder: Path) -> None:
    kept = {path.name for path in (folder / "kept").iterdir()}
    assert digest(b"codec")[7:] in kept
    assert kept.isdisjoint({digest(b"debian")[7:], digest(b"monopod")[7:]})
    done = join(folder)
    assert (done.returncode, done.stderr) == (0, "")
    manifest, config = read(folder / "joined")
    assert [layer["digest"] for layer in manifest["layers"]] == [digest(b"debian"), digest(b"monopod"), digest(b"codec")]
    assert config["rootfs"]["diff_ids"] == [digest(b"plain" + each) for each in (b"debian", b"monopod", b"codec")]
    assert config["config"] == {**RUN, "Env": [*ENV, "CODEC=/usr/local/lib/libcodec.so"]}
    assert config["history"][-1]["created_by"] == "service.Dockerfile"
    assert (folder / "joined" / digest(b"codec")[7:]).read_bytes() == b"codec"


def sets(name: str, value: object) -> Change:
    return lambda folder, manifest, config: config["config"].update({name: value})


def adds(variable: str) -> Change:
    return lambda folder, manifest, config: config["config"]["Env"].append(variable)


def layer(**said: object) -> Change:
    return lambda folder, manifest, config: manifest["layers"][-1].update(said)


def without_the_first_layer(folder: Path, manifest: dict[str, Any], config: dict[str, Any]) -> None:
    del config["rootfs"]["diff_ids"][0], manifest["layers"][0]


def with_a_layer_that_the_configuration_lacks(folder: Path, manifest: dict[str, Any], config: dict[str, Any]) -> None:
    manifest["layers"].append(manifest["layers"][-1])


def linked_to_a_secret(folder: Path, manifest: dict[str, Any], config: dict[str, Any]) -> None:
    (folder / digest(b"codec")[7:]).unlink()
    (folder / digest(b"codec")[7:]).symlink_to("/proc/self/environ")


def a_pipe(folder: Path, manifest: dict[str, Any], config: dict[str, Any]) -> None:
    (folder / digest(b"codec")[7:]).unlink()
    os.mkfifo(folder / digest(b"codec")[7:])


HOSTILE: dict[str, tuple[Change, str]] = {
    "another user": (sets("User", "0"), "User of the configuration differ from the platform's"),
    "another command": (sets("Cmd", ["sh"]), "Cmd of the"),
    "an entry point": (sets("Entrypoint", ["/x"]), "Entrypoint of the"),
    "another port": (sets("ExposedPorts", {"22/tcp": {}}), "ExposedPorts of the"),
    "another commit": (sets("Labels", {"org.opencontainers.image.revision": "ffff"}), "Labels of the"),
    "a health check": (sets("Healthcheck", {"Test": ["CMD", "x"]}), "Healthcheck of the"),
    "another machine": (lambda folder, manifest, config: config.update(architecture="arm64"), "architecture of the"),
    "PATH again": (adds("PATH=/tmp"), "the variables PATH are not those"),
    "LD_PRELOAD": (adds("LD_PRELOAD=/x.so"), "the variables LD_PRELOAD are not those"),
    "no PYTHONPATH": (sets("Env", ENV[:1]), "the variables PYTHONPATH are not those"),
    "fewer layers": (without_the_first_layer, "the first layers are not those of the platform's image"),
    "more layers": (with_a_layer_that_the_configuration_lacks, "another number of layers"),
    "a layer from an address": (layer(urls=["http://169.254.169.254/"]), "a layer is not a plain one"),
    "a digest that is a path": (layer(digest="sha256:../../../proc/self/environ"), "a layer is not a plain one"),
    "a layer of another kind": (layer(mediaType="application/x"), "a layer is not a plain one"),
    "a link": (linked_to_a_secret, "are not those of an image"),
    "a pipe": (a_pipe, "is not a plain file"),
    "a configuration that is a list": (lambda folder, manifest, config: config.update(config=[]), "are not those of an image"),
    "a time that is not one": (lambda folder, manifest, config: config.update(created="now"), "no time of its creation"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_image_that_changes_more_than_files_and_variables_is_refused_with_what_it_changed(name: str, folder: Path) -> None:
    change, words = HOSTILE[name]
    manifest, config = read(folder / "kept")
    change(folder / "kept", manifest, config)
    written(folder / "kept", manifest, config)
    done = join(folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "PATH=" not in done.stderr


def test_a_second_spelling_of_a_key_does_not_reach_the_image(folder: Path) -> None:
    manifest, config = read(folder / "kept")
    written(folder / "kept", manifest, {**config, "Config": {"User": "0"}, "container_config": {"User": "0"}})
    assert join(folder).returncode == 0
    _, made = read(folder / "joined")
    assert made.keys() == config.keys()


def test_a_configuration_of_many_megabytes_is_refused_before_it_is_parsed(folder: Path) -> None:
    manifest, config = read(folder / "kept")
    written(folder / "kept", manifest, {**config, "comment": "x" * 2**20})
    assert "is larger than 1048576 bytes" in join(folder).stderr
