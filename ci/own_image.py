"""Keeps the layers that a service's own Dockerfile adds to the platform's image, and joins them to that image again.

    own_image.py keep WHOLE MANIFEST FOLDER             after the build, with the whole image in skopeo's folder WHOLE
    own_image.py join FOLDER MANIFEST CONFIG TARGET     in the job that pushes, to skopeo's folder TARGET

MANIFEST and CONFIG are those of the platform's image, as its registry has them. `join` trusts no file of FOLDER. Layers, added
variables and the time come from there, and all else from CONFIG. So the platform's layers are the first ones by construction.
Formats: Docker's image manifest V2, schema 2, and the OCI image specification's configuration. Standard library only.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import sys
from pathlib import Path
from typing import Any, BinaryIO

from conf.rules.own_image import PLATFORM_ENV

DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
VARIABLE = re.compile(r"([A-Za-z_]\w*)=[^\0]*", re.ASCII)
TIME = re.compile(r"[0-9T:.Z+-]{20,40}")
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
CONFIG = "application/vnd.docker.container.image.v1+json"
BUILDS = ("Env", "Hostname", "Image")  # variables are compared one by one, and the others name the build
MAX_JSON = 1 << 20
CURE = "service.Dockerfile adds files and variables, and changes nothing else of the platform's image (docs/image.md)"


class Refused(ValueError):
    """An image that must not be pushed. The text says why."""


def joined(manifest: Any, config: Any, own_manifest: Any, own_config: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the manifest and the configuration of the platform's image with a service's layers upon it.

    The manifest lacks the entry `config`, which the caller adds. manifest, config: the platform's. own_manifest, own_config: of
    the image built upon it, which a stranger may have written. Raises Refused where they are not of such an image.
    """
    ours, theirs = config["rootfs"]["diff_ids"], own_config["rootfs"]["diff_ids"]
    if theirs[: len(ours)] != ours:
        raise Refused(
            "the first layers are not those of the platform's image; build may have pushed a newer one, so run build_own again"
        )
    layers = own_manifest["layers"][len(ours) :]
    if len(manifest["layers"]) != len(ours) or len(layers) != len(theirs) - len(ours):
        raise Refused("the manifest names another number of layers than the configuration")
    for layer, diff_id in zip(layers, theirs[len(ours) :], strict=True):
        plain = layer.keys() == {"mediaType", "size", "digest"} and layer["mediaType"] == LAYER and type(layer["size"]) is int
        if not (plain and DIGEST.fullmatch(layer["digest"]) and DIGEST.fullmatch(diff_id)):
            raise Refused(f"a layer is not a plain one of type {LAYER}")
    run, own_run = config["config"], own_config["config"]
    changed = sorted(name for name in run.keys() | own_run.keys() if name not in BUILDS and run.get(name) != own_run.get(name))
    changed += [name for name in ("architecture", "os", "variant") if config.get(name) != own_config.get(name)]
    if changed:
        raise Refused(f"{', '.join(changed)} of the configuration differ from the platform's image; {CURE}")
    added = [each for each in own_run["Env"] if each not in run["Env"]]
    names = [match[1] if (match := VARIABLE.fullmatch(each)) else "" for each in added]
    ours_too = {each.partition("=")[0] for each in run["Env"]}
    wrong = [name for name in names if not name or name in ours_too or PLATFORM_ENV.fullmatch(name)]
    wrong += [each.partition("=")[0] for each in run["Env"] if each not in own_run["Env"]]
    if wrong:
        raise Refused(f"the variables {', '.join(sorted(set(wrong)))} are not those of the platform's image; {CURE}")
    if not TIME.fullmatch(own_config["created"]):
        raise Refused("the configuration has no time of its creation")
    made = {"created": own_config["created"]}
    history = [*config["history"], *({**made, "created_by": "service.Dockerfile"} for _ in layers)]
    rootfs = {"type": "layers", "diff_ids": theirs}
    return (
        {**manifest, "layers": [*manifest["layers"], *layers]},
        {**config, **made, "config": {**run, "Env": [*run["Env"], *added]}, "rootfs": rootfs, "history": history},
    )


def keep(whole: Path, manifest: Path, folder: Path) -> None:
    """Copy an image to a new folder, without the layers of the platform's image."""
    count = len(json.loads(manifest.read_bytes())["layers"])
    said = json.loads((whole / "manifest.json").read_bytes())
    folder.mkdir()
    shutil.copy(whole / "manifest.json", folder)
    for blob in (said["config"], *said["layers"][count:]):
        shutil.copy(whole / blob["digest"].removeprefix("sha256:"), folder)


def join(folder: Path, manifest: Path, config: Path, target: Path) -> None:
    """Write the joined image to a new folder. Raises Refused, and OSError where a file of `folder` lacks."""
    if folder.is_symlink():
        raise Refused(f"{folder} is a link")
    own_manifest = json.loads(_read(folder / "manifest.json"))
    named = own_manifest["config"]["digest"]
    own_config = json.loads(_read(folder / _blob(named)))
    made_manifest, made_config = joined(
        json.loads(manifest.read_bytes()), json.loads(config.read_bytes()), own_manifest, own_config
    )
    target.mkdir()
    text = json.dumps(made_config).encode()
    digest = hashlib.sha256(text).hexdigest()
    (target / digest).write_bytes(text)
    made_manifest["config"] = {"mediaType": CONFIG, "size": len(text), "digest": f"sha256:{digest}"}
    (target / "manifest.json").write_text(json.dumps(made_manifest))
    (target / "version").write_text("Directory Transport Version: 1.1\n")
    for layer in made_manifest["layers"][len(json.loads(manifest.read_bytes())["layers"]) :]:
        with _plain(folder / _blob(layer["digest"])) as source, (target / _blob(layer["digest"])).open("xb") as out:
            shutil.copyfileobj(source, out)


def _blob(digest: str) -> str:
    if not (named := DIGEST.fullmatch(digest)):
        raise Refused("a digest is not sha256: and 64 hexadecimal digits")
    return named[1]


def _plain(path: Path) -> BinaryIO:
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise Refused(f"{path.name} is not a plain file")
    return file


def _read(path: Path) -> bytes:
    with _plain(path) as file:
        text = file.read(MAX_JSON + 1)
    if len(text) > MAX_JSON:
        raise Refused(f"{path.name} is larger than {MAX_JSON} bytes")
    return text


def main(verb: str, *paths: str) -> int:
    try:
        if verb == "keep":
            keep(*map(Path, paths))
        else:
            join(*map(Path, paths))
    except Refused as error:
        print(f"the image of service.Dockerfile is refused: {error}", file=sys.stderr)
        return 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # of files that no build writes
        print(f"the image of service.Dockerfile is refused: its files are not those of an image ({error!r})", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
