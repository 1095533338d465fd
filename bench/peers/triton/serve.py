"""Writes a model repository for Triton's Python backend, and becomes the tritonserver of the package nvidia-pytriton."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import peer_parts
import pytriton

CONFIG = """
backend: "python"
max_batch_size: {rows}
input [ {{ name: "inputs" data_type: {datatype} dims: [ {size} ] }} ]
output [ {{ name: "outputs" data_type: TYPE_FP32 dims: [ 8 ] }} ]
dynamic_batching {{ }}
instance_group [ {{ count: {instances} kind: KIND_CPU }} ]
"""
SERVICES = {
    "small": {"rows": 128, "datatype": "TYPE_FP32", "size": 32, "instances": 1},
    "jpeg": {"rows": 8, "datatype": "TYPE_STRING", "size": 1, "instances": 2},
}


def main() -> None:
    service, scratch = os.environ["PEER_SERVICE"], Path(os.environ["PEER_SCRATCH"])
    server = Path(pytriton.__file__).parent / "tritonserver"
    version = scratch / "models" / service / "1"
    version.mkdir(parents=True)
    shutil.copy(peer_parts.__file__, version)  # the backend's Python reads no PYTHONPATH
    shutil.copy(Path(__file__).with_name(f"serve_{service}.py"), version / "model.py")
    (version.parent / "config.pbtxt").write_text(CONFIG.format(**SERVICES[service]))
    backends = scratch / "backends"  # the backend looks for its stub beside itself
    shutil.copytree(server / "backends", backends)
    stub = server / "python_backend_stubs" / f"{sys.version_info.major}.{sys.version_info.minor}" / "triton_python_backend_stub"
    (backends / "python" / stub.name).symlink_to(stub)
    libraries = [str(sysconfig.get_config_var("LIBDIR")), str(Path(pytriton.__file__).parents[1] / "nvidia_pytriton.libs")]
    environment = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}
    program = str(server / "bin" / "tritonserver")
    options = [f"--model-repository={scratch}/models", f"--backend-directory={backends}", "--http-address=127.0.0.1"]
    options += [f"--http-port={os.environ['PEER_PORT']}", "--allow-grpc=false", "--allow-metrics=false"]
    options += [f"--backend-config=python,shm-region-prefix-name={scratch.name}", "--log-info=false"]
    os.execve(program, [program, *options], environment)


if __name__ == "__main__":
    main()
