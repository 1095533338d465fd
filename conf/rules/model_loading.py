"""Rules that the model is there, loads in time and fits into memory. Pods that break one crash or restart."""

import re
from collections.abc import Iterator
from math import prod

from conf.base.quantities import GIB, counted, readable_bytes, rounded_up
from conf.rules.context import Rule, RuleContext, Violation, hint
from serving.settings import SESSION_GIB, Settings, gpu_memory, process_memory, size_in_bytes

PROCESS = 256 * 2**20  # Bytes that Python and its libraries take, onnxruntime included.
READ_RATE = 200 * 2**20  # Bytes a second at which a model is read and made ready, seldom faster.
BUILD_SECONDS = {"tensorrt": 60}  # Seconds that a provider takes besides, to build its engine.

# onnxruntime-gpu, as pyproject.toml pins it, is linked to libnvinfer.so.10 and CUDA 13: neither TensorRT 11 nor cu12 fits.
TENSORRT_PACKAGE, TENSORRT_LIBRARY = "tensorrt-cu13-libs==10.16.1.11", "libnvinfer.so.10"
TENSORRT = re.compile(r"\s*tensorrt([-_.]cu13)?([-_.]libs)?\s*(\[.*\]\s*)?==\s*10\.", re.IGNORECASE)

MAX_AXES = 64  # of an array of numpy
ZIPMAP = 'export the model with options={"zipmap": False}, which to_onnx and convert_sklearn of skl2onnx take'
OTHER_VALUES = "export the model so that it takes and gives tensors alone"


def model_path_is_a_file(context: RuleContext) -> Iterator[Violation]:
    inside = context.model.inside
    if context.settings.model_path and context.model.folder:
        cure = f'set model_path = "{inside[0]}"' if inside else "name the ONNX file, and put it there"
        yield Violation("model_path", f"{context.settings.model_path!r} is a folder, and a model is one file: {cure}")


def model_path_exists(context: RuleContext) -> Iterator[Violation]:
    path, model = context.settings.model_path, context.model
    if path and not (model.folder or model.there or model.parts or model.made):
        yield Violation("model_path", f"{path!r} is not in the service's folder: add the file, or correct model_path")


def model_that_is_not_there_yet_is_not_read(context: RuleContext) -> Iterator[Violation]:
    """This is a hint, since the image's build merges parts and runs model/Makefile. A pointer has a rule of its own."""
    path, model = context.settings.model_path, context.model
    if not path or model.pointer or model.folder:
        return
    reason = model.unread
    if not model.there:
        reason = "its parts are not merged" if model.parts else "model/Makefile makes it" if model.made else ""
    if reason:
        words = f"{path} is not read here ({reason}): once it is there, `monopod verify` says whether it can be served"
        yield hint("model_path", words)


def model_is_a_whole_onnx_file(context: RuleContext) -> Iterator[Violation]:
    model = context.model
    if model.broken:
        words = f"{model.path} is not a complete ONNX model ({model.broken}): put the model there again"
        yield Violation("model_path", words)


def model_takes_and_gives_tensors(context: RuleContext) -> Iterator[Violation]:
    for value in context.model.values:
        if value.kind not in ("", "tensor"):
            what, cure = f"is a {value.kind}, and only tensors are served", ZIPMAP if "map" in value.kind else OTHER_VALUES
            yield Violation("model_path", f"{value.role} {value.name!r} of {context.model.path} {what}: {cure}")


def memory_holds_a_row(context: RuleContext) -> Iterator[Violation]:
    """An element takes a byte at least."""
    memory = context.settings.memory
    for value in context.model.values:
        many = len(value.shape) > MAX_AXES
        if many or prod(value.shape) > size_in_bytes(memory):
            what = f"{MAX_AXES} axes" if many else f"a byte of memory ({memory}) for each element of a row"
            words = f"{value.role} {value.name!r} of {context.model.path} needs more than {what}"
            yield Violation("model_path", f"{words}: export the model with other sizes")


def model_is_pulled_from_lfs(context: RuleContext) -> Iterator[Violation]:
    if context.model.pointer:
        cure = "run `git lfs pull`; in CI set GIT_LFS_SKIP_SMUDGE=0"
        yield Violation("model_path", f"{context.model.path} is a Git LFS pointer, not the model: {cure}")


def split_model_has_checksums(context: RuleContext) -> Iterator[Violation]:
    name, parts = context.model.path, context.model.parts
    if parts and not context.model.checksums:
        yield Violation(
            "model_path",
            f"{name} is split into {len(parts)} parts ({parts[0]}, ...) and has no checksum: write one of the whole file with"
            f" `sha256sum {name} > {name}.sha256`, so that a lost part is found in the build",
        )


def memory_holds_the_model(context: RuleContext) -> Iterator[Violation]:
    """While it is read, a model is in memory twice. Each further session on the CPU holds one more copy."""
    copies, size, memory = 1 + _copies(context), context.model.size, context.settings.memory
    wanted = _beside(context.settings) + copies * size
    if size and size_in_bytes(memory) < wanted:
        yield Violation(
            "memory",
            f"memory is {memory}, too little to load the model, so that the pod would be killed: the model's file has"
            f" {readable_bytes(size)}, {copies} copies and the process take {readable_bytes(wanted)}:"
            f' set memory = "{rounded_up(wanted / 2**20)}Mi" or more',
        )


def _beside(settings: Settings) -> int:
    """Return the bytes that a pod holds beside its models."""
    return PROCESS + size_in_bytes(settings.shared_memory)


def _copies(context: RuleContext) -> int:
    """Return the copies of a loaded model in the pod's memory: one with a GPU, since the file is read there first."""
    return 1 if context.settings.gpu_memory or context.settings.gpu_num else context.settings.ins_num_per_gpu


def memory_holds_every_model(context: RuleContext) -> Iterator[Violation]:
    """This is a hint, since only the service's own code knows which models it loads, and when."""
    settings, model, copies = context.settings, context.model, _copies(context)
    wanted = _beside(settings) + (1 + copies) * model.size + min(copies * model.others, size_in_bytes(settings.model_memory))
    if model.others and size_in_bytes(settings.memory) < wanted:
        yield hint(
            "memory",
            f"model/ holds further ONNX files of {readable_bytes(model.others)}: where all are loaded, they, model_path's model"
            f" and the process take about {readable_bytes(wanted)}, and memory is {settings.memory}: raise memory, or bound"
            " with model_memory what is loaded on first use; `monopod verify` measures each",
        )


def memory_holds_a_body(context: RuleContext) -> Iterator[Violation]:
    """The server bounds the bytes of all requests, and the start's log measures what is left for them."""
    settings = context.settings
    left = process_memory(settings) * 9 // 10 - PROCESS - context.model.size
    if 0 < left < size_in_bytes(settings.max_body):
        words = f"memory ({settings.memory}) leaves about {readable_bytes(left)} for all requests, and max_body is"
        words += f" {settings.max_body}: a request that needs more is a 413; lower max_body, or raise memory"
        yield hint("memory", words)


def gpu_memory_holds_the_model(context: RuleContext) -> Iterator[Violation]:
    settings = context.settings
    sessions, left = settings.ins_num_per_gpu, gpu_memory.remaining(settings)
    size, beside = context.model.size * sessions, sessions * SESSION_GIB
    if settings.gpu_memory and size and size > (left - beside) * GIB:
        of_it = f" and leaves model_path's model {left:g}" if gpu_memory.shares(settings) else ""
        yield Violation(
            "gpu_memory",
            f"gpu_memory is {settings.gpu_memory:g} GiB{of_it}, and the model's weights take {readable_bytes(size)} for"
            f" {counted(sessions, 'session')}, and {beside:g} GiB stay outside the arena:"
            f" set gpu_memory = {rounded_up(settings.gpu_memory - left + beside + 1.2 * size / GIB)} or more",
        )


def gpu_memory_is_shared(context: RuleContext) -> Iterator[Violation]:
    settings, model = context.settings, context.model
    if settings.gpu_memory and gpu_memory.shares(settings):
        memory = PROCESS + (1 + _copies(context)) * model.size + model.others
        yield hint(
            "model_gpu_memory" if settings.model_gpu_memory else "on_demand_gpu_memory",
            f"gpu_memory is shared, {gpu_memory.describe(settings)}; of {settings.memory} of memory, the process and the ONNX"
            f" files of model/ take about {readable_bytes(memory)} where all are loaded",
        )


def tensorrt_is_in_the_image(context: RuleContext) -> Iterator[Violation]:
    """This is a hint, since a base image can hold TensorRT too."""
    if context.settings.provider == "tensorrt" and not any(TENSORRT.match(line) for line in context.model.requirements):
        yield hint(
            "provider",
            f'provider is "tensorrt", which no image of the platform holds: write {TENSORRT_PACKAGE} into src/requirements.txt,'
            f" or build the image on a BASE that has {TENSORRT_LIBRARY} on its loader's path; a pod without it fails when"
            " it starts",
        )


def slow_start_has_time(context: RuleContext) -> Iterator[Violation]:
    settings, size = context.settings, context.model.size
    wanted = rounded_up(size / READ_RATE) + BUILD_SECONDS.get(settings.provider, 0)
    if settings.init_delay_second < wanted:
        yield Violation(
            "init_delay_second",
            f"init_delay_second is {settings.init_delay_second}, and a model of {readable_bytes(size)} with provider"
            f" {settings.provider!r} takes about {wanted} s to load: the pod would be restarted before it is ready;"
            f" set init_delay_second = {2 * wanted} or more",
        )


RULES: tuple[Rule, ...] = (
    model_path_is_a_file,
    model_path_exists,
    model_that_is_not_there_yet_is_not_read,
    model_is_a_whole_onnx_file,
    model_takes_and_gives_tensors,
    memory_holds_a_row,
    model_is_pulled_from_lfs,
    split_model_has_checksums,
    memory_holds_the_model,
    memory_holds_every_model,
    memory_holds_a_body,
    gpu_memory_holds_the_model,
    gpu_memory_is_shared,
    tensorrt_is_in_the_image,
    slow_start_has_time,
)
