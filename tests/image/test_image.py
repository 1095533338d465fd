"""The image of the root's service, built by buildah as in CI, and its content."""

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conf.plan.pods import USER
from tests.image.building import MARKER, about, buildah, context, failed, forgotten, layers, made, mounted, refused, run
from tests.image.package_index import index_of
from tests.running import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.long]

IMAGE = "localhost/monopod-test/demo:cpu"  # kept, so that the next run can reuse its layers
WHEELS = "localhost/monopod-test/demo:wheels"
COMPILERS = ("cc", "gcc", "g++", "c++", "ld", "as", "make", "go", "rustc")


@pytest.fixture(scope="module")
def folder(needs: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The context, with an image built from it."""
    needs("buildah", "buildah")
    folder = context(tmp_path_factory.mktemp("image") / "context")
    made(folder, IMAGE)
    return folder


@pytest.fixture(scope="module")
def files(folder: Path) -> Iterator[Path]:
    """The image's files."""
    with mounted(IMAGE) as root:
        yield root


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A context of a test's own."""
    return Path(shutil.copytree(folder, tmp_path / "context"))


def under(root: Path, folder: str) -> set[str]:
    found = (path for path in (root / folder).rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(root / folder)) for path in found}


def test_the_image_holds_the_service_and_its_runtime_and_nothing_else(files: Path) -> None:
    serving = {f"src/serving/{path}" for path in under(ROOT / "src", "serving")}
    left_out = tuple(f"src/serving/tools/{name}" for name in ("bench/", "new.py", "optimize/"))
    serving = {path for path in serving if not path.startswith(left_out)}
    model = {f"model/{path}" for path in under(ROOT, "model")}
    assert under(files, "app") == {"value.py", "src/server.py", "src/monopod.py", *serving, *model}
    assert {path.name for path in files.iterdir()} - {"app", "venv"} <= {
        "bin", "boot", "dev", "etc", "home", "lib", "lib64", "media", "mnt", "opt", "proc", "root", "run", "sbin", "srv", "sys",
        "tmp", "usr", "var",
    }  # fmt: skip


def test_the_image_has_no_compiler_no_caches_and_no_package_of_the_other_half(files: Path) -> None:
    places = ("usr/bin", "usr/sbin", "usr/local/bin", "venv/bin")
    assert [name for place in places for name in COMPILERS if (files / place / name).exists()] == []
    assert under(files, "root/.cache") | under(files, "tmp") | under(files, "run/secrets") | under(files, "build") == set()
    assert under(files, "var/lib/apt/lists") == set()
    installed = {path.name.partition("-")[0].lower() for path in files.glob("venv/lib/*/site-packages/*.dist-info")}
    assert {"flask", "httptools", "uvloop", "waitress", "numpy", "onnxruntime", "orjson", "pillow"} <= installed
    assert installed & {"pip", "setuptools", "kubernetes", "jinja2_cli", "pytest", "aiohttp", "onnx", "monopod"} == set()


def test_every_installed_package_has_the_version_of_the_lock(files: Path) -> None:
    locked = {
        name.lower().replace("-", "_"): version
        for name, version in (line.split("==") for line in (ROOT / "requirements.lock").read_text().split())
    }
    found = [path.name.removesuffix(".dist-info").split("-") for path in files.glob("venv/lib/*/site-packages/*.dist-info")]
    assert len(found) > 10
    assert {name: version for name, version in found if locked[name.lower().replace(".", "_")] != version} == {}


def test_all_code_is_compiled_since_no_pod_can_write(files: Path) -> None:
    for place in ("app/src", *(str(path.relative_to(files)) for path in files.glob("venv/lib/*/site-packages/flask"))):
        sources = [path for path in (files / place).rglob("*.py") if path.stat().st_size]
        assert sources
        assert [path for path in sources if not list((path.parent / "__pycache__").glob(f"{path.stem}.cpython-*.pyc"))] == []


def test_every_file_of_the_service_can_be_read_and_none_written_by_the_pods_user(files: Path) -> None:
    own = [path for part in ("app", "venv") for path in (files / part).rglob("*") if not path.is_symlink()]
    assert {path.stat().st_uid for path in own} == {0}
    assert [path for path in own if path.stat().st_mode & 0o022 or not path.stat().st_mode & 0o004] == []


def test_the_image_has_a_command_a_user_and_a_health_check(folder: Path) -> None:
    config = about(IMAGE)["Docker"]["config"]
    assert config["User"] == f"{USER}:{USER}"
    assert config["Cmd"] == ["python", "-m", "monopod", "serve"]
    assert not config.get("Entrypoint")
    assert config["WorkingDir"] == "/app"
    assert set(config["ExposedPorts"]) == {"8080/tcp", "8081/tcp"}
    assert config["Healthcheck"]["Test"][:3] == ["CMD", "python", "-c"]
    labels = {name.removeprefix("org.opencontainers.image.") for name in config["Labels"]}
    assert {"title", "description", "revision", "created"} <= labels


def test_the_command_answers_in_the_image(folder: Path) -> None:
    assert "monopod serve --service" in run(IMAGE, "python", "-m", "monopod", "serve", "--help")
    assert run(IMAGE, "python", "-c", "import os, pwd; print(os.getuid(), pwd.getpwuid(os.getuid()).pw_dir)") == "65532 /tmp"


def test_a_command_that_the_image_does_not_hold_says_where_to_run_it(folder: Path) -> None:
    for command, missing in (("bench", "serving.tools.bench"), ("check", "conf")):
        status, words = refused(IMAGE, "python", "-m", "monopod", command)
        assert status == 1
        assert f"the image of a service holds no {missing}: " in words
        assert "Traceback" not in words


def test_a_change_of_server_py_builds_one_layer_anew_in_seconds(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The time is of the processor, not of the clock: the steps of a build follow one another, so on an idle machine both are
    equal.

    The bound is loose, but building the layer of packages again would be far above it.
    """
    before, took = layers(IMAGE), []
    with forgotten("localhost/monopod-test/demo:changed") as image:
        for number in range(3):
            with (copy / "src/server.py").open("a") as file:
                file.write(f"\n# change {number}\n")
            took.append(made(copy, image))
            after = layers(image)
            assert after[:-1] == before[:-1]
            assert after[-1] != before[-1]
            before = after
    with capsys.disabled():
        times = ", ".join(f"{each.seconds:.1f} s ({each.cores:.1f} s of a core)" for each in took)
        print(f"\nan image built again after a change of src/server.py: {times}")
    assert min(each.cores for each in took) < 10


def test_an_equal_context_makes_equal_layers_and_the_index_that_was_used_is_nowhere_in_the_image(
    copy: Path, tmp_path: Path
) -> None:
    """Build without stored layers, as on a new CI machine, from an index that needs a password, and with a pip.conf."""
    made(copy, WHEELS, OPTIONS="--target wheels")
    for path in copy.rglob("*"):
        path.touch()
    (copy / "pip.conf").write_text(f"[global]\nretries = 1\n# {MARKER}\n")
    with mounted(WHEELS) as root, index_of(root / "wheels/platform", tmp_path / "pages") as index:
        url = f"http://user:{MARKER}@{index}"
        with forgotten("localhost/monopod-test/demo:again") as image:
            built = made(copy, image, PIP_INDEX_URL=url, OPTIONS="--no-cache --secret id=pip,src=pip.conf")
            assert "Using cache" not in built.log
            assert layers(image) == layers(IMAGE)
            archive = tmp_path / "image.tar"
            buildah("push", "--quiet", image, f"docker-archive:{archive}")
            words = str(about(image))
    for secret in (MARKER, index):
        assert secret not in words
        assert subprocess.run(["grep", "--quiet", "--fixed-strings", secret, archive]).returncode == 1


def test_an_example_is_built_from_its_own_folder_and_its_makefile_makes_the_model_anew(copy: Path) -> None:
    service = copy / "examples/moderation"
    shutil.copytree(ROOT / "examples/moderation", service, ignore=shutil.ignore_patterns("__pycache__", "*.onnx"))
    (service / "model/open-nsfw.onnx").write_bytes(b"of whoever builds")
    with forgotten("localhost/monopod-test/moderation:cpu") as image:
        made(copy, image, SERVICE="examples/moderation")
        with mounted(image) as root:
            model = (root / "app/model/open-nsfw.onnx").read_bytes()
            kept = under(root, "app")
        wanted = (service / "model/SHA256SUMS").read_text().split()[0]
        assert hashlib.sha256(model).hexdigest() == wanted
        assert {"value.py", "src/server.py", "src/nsfw.py", "model/README.md", "src/serving/core/stages.py"} <= kept
        assert {"model/Makefile", "model/SHA256SUMS", "src/requirements.txt", "src/test_server.py", "README.md"} & kept == set()
        assert run(image, "python", "-c", "import av, serving.video.supervisor; print(av.__name__)") == "av"


@pytest.fixture
def split(copy: Path) -> Path:
    """A service in the context, with a split model, packages of its own, and no code."""
    service = copy / "examples" / "split"
    (service / "model").mkdir(parents=True)
    (service / "src").mkdir()
    (service / "value.py").write_text('service_name = "split"\nusername = "like"\nmodel_path = "model/digits.onnx"\n')
    shutil.copy(ROOT / "tests/models/digits.onnx", service / "model")
    subprocess.run("sha256sum digits.onnx >digits.onnx.sha256", shell=True, cwd=service / "model", check=True)
    subprocess.run(["split", "-b", "4k", "digits.onnx", "digits.onnx-"], cwd=service / "model", check=True)
    (service / "model/digits.onnx").unlink()
    (service / "src/requirements.txt").write_text("cachetools==8.0.1  # a comment\n")
    (service / "src/packages.txt").write_text("# what greets\nhello  # a comment\n\n")
    return service


def test_parts_are_merged_and_packages_of_both_kinds_installed(copy: Path, split: Path) -> None:
    with forgotten("localhost/monopod-test/split:cpu") as image:
        made(copy, image, SERVICE="examples/split")
        with mounted(image) as root:
            assert under(root, "app/model") == {"digits.onnx"}
            model = (root / "app/model/digits.onnx").read_bytes()
            assert under(root, "var/lib/apt/lists") | under(root, "var/cache/apt") == set()
        assert model == (ROOT / "tests/models/digits.onnx").read_bytes()
        assert run(image, "hello") == "Hello, world!"
        code = "import cachetools, numpy, monopod; print(cachetools.__version__, cachetools.__file__)"
        assert re.match(r"8\.0\.1 /venv/lib/python3\.\d+/site-packages/cachetools", run(image, "python", "-c", code))
        assert layers(image)[:1] == layers(IMAGE)[:1]


def failure(folder: Path) -> str:
    return failed(folder, "localhost/monopod-test/split:broken", SERVICE="examples/split")


def test_a_wrong_sum_fails_the_build_and_names_the_file(copy: Path, split: Path) -> None:
    part = split / "model/digits.onnx-ab"
    part.write_bytes(b"x" + part.read_bytes()[1:])
    log = failure(copy)
    assert "model/digits.onnx has sha256" in log
    assert "merged from digits.onnx-aa, digits.onnx-ab" in log


def test_a_git_lfs_pointer_fails_the_build_and_names_the_file(copy: Path, split: Path) -> None:
    (split / "model/large.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "model/large.onnx is a Git LFS pointer" in failure(copy)


def test_code_that_cannot_be_read_fails_the_build_and_names_its_line(copy: Path, split: Path) -> None:
    (split / "src/server.py").write_text("x = 1\ndef f(:\n")
    log = failure(copy)
    assert "own/src/server.py" in log
    assert "line 2" in log


def test_packages_that_contradict_the_platforms_fail_the_build_in_pips_words(copy: Path, split: Path) -> None:
    (split / "src/requirements.txt").write_text("numpy==1.26.4\n")
    assert re.search(r"The user requested \(constraint\) numpy==2", failure(copy))
