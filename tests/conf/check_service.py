"""Checks a service of a few lines in a real folder."""

from collections.abc import Callable
from pathlib import Path

from conf.rules.check import Report, check
from conf.rules.other_services import other_services
from tests.conf.golden import regions

GOOD = 'service_name = "demo"\nusername = "like"\nreplicas = 2\nmemory = "4Gi"\n'
MODEL = 'model_path = "model/m.onnx"\n'
GPU = 'tolerations = ["nvidia.com/gpu"]\ngpu_memory = 4\n'
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9000000000\n"
CheckService = Callable[..., Report]


def service_checker(folder: Path) -> CheckService:
    """Return a function that checks a service. lines: of value.py, after GOOD. model: bytes of its model, a sparse file."""

    def run(lines: str = "", model: int = 0, files: dict[str, str] | None = None, image: str = "", name: str = "me") -> Report:
        service = folder / name
        (service / "model").mkdir(parents=True, exist_ok=True)
        if model:
            with (service / "model" / "m.onnx").open("wb") as file:
                file.truncate(model)
        for path, text in (files or {}).items():
            (service / path).write_text(text, encoding="utf-8")
        (service / "value.py").write_text(GOOD + lines, encoding="utf-8")
        others, _ = other_services(folder, service, regions())
        return check(service, regions(), image_name=image, others=others)

    return run
