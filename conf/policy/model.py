"""Rules that the model is there, starts in time and fits: what is wrong here crashes or restarts in the cluster.

Knows files and sizes. Does not open the model.
"""

from collections.abc import Iterator

from conf.policy.case import Broken, Case, Rule
from conf.sizes import gib, up
from serving.schema import size_in_bytes

PROCESS = 256 * 2**20  # bytes of Python and its libraries, onnxruntime included
READ_RATE = 200 * 2**20  # bytes a second at which a model is read and made ready, seldom faster
BUILD_SECONDS = {"tensorrt": 60}  # what a provider needs besides


def model_path_exists(case: Case) -> Iterator[Broken]:
    if case.settings.model_path and not case.model.there and not case.model.parts:
        yield Broken(
            "model_path", f"{case.settings.model_path!r} is not in the service's folder: add the file, or correct model_path"
        )


def model_is_pulled_from_lfs(case: Case) -> Iterator[Broken]:
    if case.model.pointer:
        yield Broken(
            "model_path",
            f"{case.model.path} is a Git LFS pointer, not the model: run `git lfs pull`; in CI set GIT_LFS_SKIP_SMUDGE=0",
        )


def split_model_has_checksums(case: Case) -> Iterator[Broken]:
    if case.model.parts and not case.model.checksums:
        name = case.model.path
        yield Broken(
            "model_path",
            f"{name} is split into {len(case.model.parts)} parts ({case.model.parts[0]}, ...) and has no checksum:"
            f" write one of the whole file with `sha256sum {name} > {name}.sha256`, so that a lost part is found in the build",
        )


def memory_holds_the_model(case: Case) -> Iterator[Broken]:
    """While it is read, a model is in memory twice; each further session on cores holds one more."""
    on_cores = not (case.settings.gpu_memory or case.settings.gpu_num)
    copies = 1 + (case.settings.ins_num_per_gpu if on_cores else 1)
    wanted = PROCESS + copies * case.model.size
    if case.model.size and size_in_bytes(case.settings.memory) < wanted:
        yield Broken(
            "memory",
            f"memory is {case.settings.memory}, and the pod would be killed for it while it loads: the model's file has"
            f" {gib(case.model.size)}, {copies} copies and the process take {gib(wanted)}:"
            f' set memory = "{up(wanted / 2**20)}Mi" or more',
        )


def memory_holds_the_queue(case: Case) -> Iterator[Broken]:
    held = case.settings.queue_limit * size_in_bytes(case.settings.max_body)
    wanted = PROCESS + 2 * case.model.size + held
    if size_in_bytes(case.settings.memory) < wanted:
        yield Broken(
            "memory",
            f"a full queue of the largest bodies (queue_limit {case.settings.queue_limit} x max_body {case.settings.max_body})"
            f" can take {gib(held)} beside the model, and memory is {case.settings.memory}: the pod may be killed under load;"
            " lower queue_limit or max_body, or raise memory",
            hint=True,
        )


def gpu_memory_holds_the_model(case: Case) -> Iterator[Broken]:
    size, share = case.model.size * case.settings.ins_num_per_gpu, case.settings.gpu_memory * 2**30
    if share and size > share:
        yield Broken(
            "gpu_memory",
            f"gpu_memory is {case.settings.gpu_memory:g} GiB, and {case.settings.ins_num_per_gpu} sessions of the model's"
            f" weights alone take {gib(size)}: set gpu_memory = {up(1.2 * size / 2**30)} or more",
        )


def slow_start_has_time(case: Case) -> Iterator[Broken]:
    wanted = up(case.model.size / READ_RATE) + BUILD_SECONDS.get(case.settings.provider, 0)
    if case.settings.init_delay_second < wanted:
        yield Broken(
            "init_delay_second",
            f"init_delay_second is {case.settings.init_delay_second}, and a model of {gib(case.model.size)} with"
            f" provider {case.settings.provider!r} takes about {wanted} s to load: the pod would be restarted before"
            f" it is ready; set init_delay_second = {2 * wanted} or more",
        )


RULES: tuple[Rule, ...] = (
    model_path_exists,
    model_is_pulled_from_lfs,
    split_model_has_checksums,
    memory_holds_the_model,
    memory_holds_the_queue,
    gpu_memory_holds_the_model,
    slow_start_has_time,
)
