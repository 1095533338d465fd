"""pod.yaml: what a service adds to the template of its pods, by an allow-list of fields."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conf.base.image_names import image
from conf.base.quantities import cpu_quantity, quantity_value
from conf.plan.own_affinity import Affinity, affinity_mistakes
from conf.plan.service_files import table_in, text_in
from serving.settings import size_in_bytes
from serving.settings import validators as allow
from serving.settings.reader import REQUIRED, List, Table, setting

FILE = "pod.yaml"
MODEL = "model"  # In the file, the name of the container that runs the model, whatever a track calls it.
PLATFORM_VOLUMES = ("tmp", "shared-memory", "data", "kafka-ca")
FOLDERS = ("/mnt", "/srv", "/var/cache")  # A mount anywhere else could hide files of the image or of the platform.
HOSTNAME = "kubernetes.io/hostname"  # The platform spreads pods over nodes itself.
# The runtime, its libraries and the platform read these. A name that ends in _ stands for all that begin with it.
PLATFORM_ENV = (
    *("MONOPOD_", "KAFKA_", "KUBERNETES_", "LD_", "PYTHON", "GLIBC_TUNABLES", "PATH", "HOME", "TMPDIR", "VIRTUAL_ENV"),
    *("NVIDIA_", "BASH_ENV", "GCONV_PATH"),
)
ANNOTATIONS = (
    "cluster-autoscaler.kubernetes.io/safe-to-evict",
    "karpenter.sh/do-not-disrupt",
    "fluentbit.io/exclude",
    "fluentbit.io/parser",
)
ALWAYS = "Always"  # The restart policy of a sidecar. An init container without it ends before the model starts.
TAKEN_CONTAINERS = (MODEL, "istio-init", "istio-proxy", "istio-validation")
KERNEL_FOLDERS = ("/proc", "/sys", "/dev")
SOURCES = ("emptyDir", "persistentVolumeClaim", "configMap", "secret")


def _is_free_name(text: str) -> bool:
    taken = any(text.startswith(each) if each.endswith(("_", "PYTHON")) else text == each for each in PLATFORM_ENV)
    return bool(re.fullmatch("[A-Za-z_][A-Za-z0-9_]{0,99}", text)) and not taken


def _is_free_path(text: str) -> bool:
    inside = any(text.startswith(f"{folder}/") for folder in FOLDERS)
    return inside and bool(re.fullmatch(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+", text)) and len(text) <= 200


def _is_free_volume(text: str) -> bool:
    return bool(re.fullmatch("[a-z]([a-z0-9-]{0,61}[a-z0-9])?", text)) and text not in PLATFORM_VOLUMES


def _is_path_of_another_image(text: str) -> bool:
    inside = any(f"{text}/".startswith(f"{folder}/") for folder in KERNEL_FOLDERS)
    return not inside and bool(re.fullmatch(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+", text)) and len(text) <= 200


def _is_digest(text: str) -> bool:
    return bool(image(text).digest)  # raises ValueError for what is not an image's name


def _cores(value: object) -> str:
    """Return cores as Kubernetes writes them. Raises ValueError for less than a thousandth and more than 256."""
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else allow.string(value)
    number = quantity_value(text) if re.fullmatch(r"[0-9]+m|[0-9]+(\.[0-9]{1,3})?", text) else 0.0
    if not 0.001 <= number <= 256:
        raise ValueError
    return cpu_quantity(number)


def _line_of_text(text: str) -> bool:
    return len(text) <= 4096 and "\0" not in text


OBJECT = allow.text(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", "an object's name, of lower-case letters, digits, - and .", "own")
KEY = allow.text(r"[A-Za-z0-9._-]{1,253}", "a key, of letters, digits, -, _ and .", "token")
VALUE = allow.string_where(_line_of_text, "a text of 4,096 characters at most, in quotes where it is a number", '"1"')
LABEL_KEY = allow.text(allow.LABEL_KEY, "a node's label", "topology.kubernetes.io/zone")
ENV_NAME = allow.string_where(
    _is_free_name,
    "letters, digits and _, and none of the platform's: " + ", ".join(each + "*" * each.endswith("_") for each in PLATFORM_ENV),
    "OMP_WAIT_POLICY",
)
VOLUME_NAME = allow.string_where(
    _is_free_volume, f"lower-case letters, digits and -, and none of the platform's {', '.join(PLATFORM_VOLUMES)}", "cache"
)
MOUNT_PATH = allow.string_where(
    _is_free_path, f"a path below {', '.join(FOLDERS[:-1])} or {FOLDERS[-1]}, without ..", "/mnt/cache"
)
CONTAINER_NAME = allow.string_where(
    lambda text: re.fullmatch("[a-z]([a-z0-9-]{0,61}[a-z0-9])?", text) and text not in TAKEN_CONTAINERS,
    f"lower-case letters, digits and -, and none of {', '.join(TAKEN_CONTAINERS)}",
    "fetch-index",
)
IMAGE = allow.string_where(
    _is_digest,
    "an image's name with its digest (@sha256:...), since a tag can be moved",
    "registry.example.com/tools/fetch@sha256:...",
)
OWN_PATH = allow.string_where(
    _is_path_of_another_image,
    f"a path without .., and not in {', '.join(KERNEL_FOLDERS[:-1])} or {KERNEL_FOLDERS[-1]}",
    "/cache",
)
CORES = allow.Validator("cores from 0.001 to 256, as 2, 0.5 or 500m", "500m", _cores)
WORDS = allow.list_of(VALUE.convert, "a list of 64 texts at most, in quotes where they are numbers", '["--port=9000"]', most=64)
TOPOLOGY = allow.string_where(
    lambda text: text != HOSTNAME and re.fullmatch(allow.LABEL_KEY, text),
    f"a node's label other than {HOSTNAME}, over which the platform spreads pods",
    "topology.kubernetes.io/zone",
)
ANNOTATION_TABLE = allow.table_of(
    ANNOTATIONS.__contains__,
    VALUE.convert,
    f"a table of texts in quotes under {', '.join(ANNOTATIONS[:-1])} or {ANNOTATIONS[-1]}",
    '{karpenter.sh/do-not-disrupt: "true"}',
)


@dataclass(frozen=True)
class KeyReference:
    """A key of a Secret or of a ConfigMap."""

    name: str = setting(REQUIRED, OBJECT, "The object's name.")
    key: str = setting(REQUIRED, KEY, "The key in it.")


@dataclass(frozen=True)
class ValueSource:
    """An object that has a variable's value."""

    secretKeyRef: KeyReference | None = setting(None, Table(KeyReference), "A key of a Secret.")
    configMapKeyRef: KeyReference | None = setting(None, Table(KeyReference), "A key of a ConfigMap.")


@dataclass(frozen=True)
class Variable:
    """A variable of the environment of the model's container. value: "" where an object has it."""

    name: str = setting(REQUIRED, ENV_NAME, "The variable's name.")
    value: str = setting("", VALUE, "Its value.")
    valueFrom: ValueSource | None = setting(None, Table(ValueSource), "An object that has the value.")


@dataclass(frozen=True)
class Mount:
    """A volume in the model's container."""

    name: str = setting(REQUIRED, VOLUME_NAME, "The volume's name.")
    mountPath: str = setting(REQUIRED, MOUNT_PATH, "Its folder in the container.")
    readOnly: bool = setting(False, allow.flag(), "Whether nothing may be written.")


@dataclass(frozen=True)
class Container:
    """The additions to the model's container."""

    name: str = setting(REQUIRED, allow.choice(MODEL), "The model's container.")
    env: tuple[Variable, ...] = setting((), List(Variable), "Variables of its environment.")
    volumeMounts: tuple[Mount, ...] = setting((), List(Mount), "Volumes in it.")


@dataclass(frozen=True)
class OwnMount:
    """A volume in a container of the service's own, whose image has no files of the platform to hide."""

    name: str = setting(REQUIRED, VOLUME_NAME, "The volume's name.")
    mountPath: str = setting(REQUIRED, OWN_PATH, "Its folder in the container.")
    readOnly: bool = setting(False, allow.flag(), "Whether nothing may be written.")


@dataclass(frozen=True)
class Amounts:
    """Cores and memory of a container."""

    cpu: str = setting(REQUIRED, CORES, "Its cores.")
    memory: str = setting(REQUIRED, allow.memory("1Mi", "16Ti"), "Its memory.")

    @property
    def numbers(self) -> dict[str, float]:
        """The cores and bytes."""
        return {"cpu": quantity_value(self.cpu), "memory": size_in_bytes(self.memory)}


@dataclass(frozen=True)
class Resources:
    """A container reserves the requests on its node, and may use the limits."""

    requests: Amounts = setting(REQUIRED, Table(Amounts), "The amounts that it reserves.")
    limits: Amounts = setting(REQUIRED, Table(Amounts), "The amounts that it may use.")


@dataclass(frozen=True)
class Command:
    """A command that runs in a container, and ends with 0 where all is well."""

    command: tuple[str, ...] = setting(REQUIRED, WORDS, "The program and its arguments.")


@dataclass(frozen=True)
class Probe:
    """A probe of a sidecar. A command needs no port, and no way through a mesh."""

    exec: Command = setting(REQUIRED, Table(Command), "The command.")
    periodSeconds: int = setting(2, allow.whole(1, 300), "The time between two probes.", unit="seconds")
    timeoutSeconds: int = setting(2, allow.whole(1, 60), "The time for one probe.", unit="seconds")
    failureThreshold: int = setting(30, allow.whole(1, 1000), "How many in a row count as failed.")


@dataclass(frozen=True)
class InitContainer:
    """A container of the service's own: one that ends before the model starts, or a sidecar, which runs beside the model.

    line: of the file.
    """

    name: str = setting(REQUIRED, CONTAINER_NAME, "The container's name.")
    image: str = setting(REQUIRED, IMAGE, "Its image.")
    resources: Resources = setting(REQUIRED, Table(Resources), "Its cores and memory.")
    restartPolicy: str = setting("", allow.choice(ALWAYS), "Makes it a sidecar.")
    command: tuple[str, ...] = setting((), WORDS, "The program, in place of the image's.")
    args: tuple[str, ...] = setting((), WORDS, "Its arguments.")
    env: tuple[Variable, ...] = setting((), List(Variable), "Variables of its environment.")
    volumeMounts: tuple[OwnMount, ...] = setting((), List(OwnMount), "Volumes in it.")
    startupProbe: Probe | None = setting(None, Table(Probe), "The next container starts once it has passed.")
    readinessProbe: Probe | None = setting(None, Table(Probe), "The pod gets requests while it passes.")
    line: int = 0

    @property
    def is_sidecar(self) -> bool:
        return self.restartPolicy == ALWAYS

    @property
    def probes(self) -> tuple[tuple[str, Probe], ...]:
        """The probes that it has, by their field's name."""
        found = (("startupProbe", self.startupProbe), ("readinessProbe", self.readinessProbe))
        return tuple((name, probe) for name, probe in found if probe)


@dataclass(frozen=True)
class EmptyFolder:
    """A folder on the node's disk that is the pod's own. sizeLimit: a quantity, beyond which the pod is evicted."""

    sizeLimit: str = setting(REQUIRED, allow.memory("1Mi", "1Ti"), "Its size.")


@dataclass(frozen=True)
class Claim:
    """A PersistentVolumeClaim of the track's namespace."""

    claimName: str = setting(REQUIRED, OBJECT, "The claim's name.")
    readOnly: bool = setting(False, allow.flag(), "Whether nothing may be written.")


@dataclass(frozen=True)
class ConfigMapFiles:
    """The keys of a ConfigMap as files."""

    name: str = setting(REQUIRED, OBJECT, "The ConfigMap's name.")


@dataclass(frozen=True)
class SecretFiles:
    """The keys of a Secret as files."""

    secretName: str = setting(REQUIRED, OBJECT, "The Secret's name.")


@dataclass(frozen=True)
class Volume:
    """A volume of the pod, which has one source."""

    name: str = setting(REQUIRED, VOLUME_NAME, "The volume's name.")
    emptyDir: EmptyFolder | None = setting(None, Table(EmptyFolder), "An empty folder.")
    persistentVolumeClaim: Claim | None = setting(None, Table(Claim), "A claim.")
    configMap: ConfigMapFiles | None = setting(None, Table(ConfigMapFiles), "A ConfigMap.")
    secret: SecretFiles | None = setting(None, Table(SecretFiles), "A Secret.")


@dataclass(frozen=True)
class Spread:
    """A preference to spread a workload's pods over groups of nodes. A demand could keep a pod from every node."""

    topologyKey: str = setting(REQUIRED, TOPOLOGY, "The label by which nodes are one group.")
    maxSkew: int = setting(1, allow.whole(1, 100), "How far the numbers of pods may differ.")
    whenUnsatisfiable: str = setting(
        "ScheduleAnyway", allow.choice("ScheduleAnyway"), "The pod starts elsewhere where this cannot be met."
    )


@dataclass(frozen=True)
class Metadata:
    """The additions to the pod's metadata."""

    annotations: Mapping[str, str] = setting({}, ANNOTATION_TABLE, "Annotations of other programs.")


@dataclass(frozen=True)
class Spec:
    """The additions to the pod's spec."""

    containers: tuple[Container, ...] = setting((), List(Container), "The model's container.")
    initContainers: tuple[InitContainer, ...] = setting(
        (), List(InitContainer), "The service's own containers, in their order."
    )
    volumes: tuple[Volume, ...] = setting((), List(Volume), "Volumes of the pod.")
    topologySpreadConstraints: tuple[Spread, ...] = setting((), List(Spread), "Groups of nodes to spread over.")
    affinity: Affinity = setting(Affinity(), Table(Affinity), "Preferences for nodes and neighbours.")


@dataclass(frozen=True)
class File:
    """pod.yaml, a part of a pod's template."""

    metadata: Metadata = setting(Metadata(), Table(Metadata), "The pod's metadata.")
    spec: Spec = setting(Spec(), Table(Spec), "The pod's spec.")


@dataclass(frozen=True)
class OwnPod:
    """The additions of a pod.yaml to every pod of its service, as a template places them."""

    annotations: tuple[tuple[str, str], ...] = ()
    env: tuple[Variable, ...] = ()
    mounts: tuple[Mount, ...] = ()
    volumes: tuple[Volume, ...] = ()
    spreads: tuple[Spread, ...] = ()
    init_containers: tuple[InitContainer, ...] = ()
    affinity: Affinity | None = None


NOTHING = OwnPod()


def load(service: Path) -> OwnPod:
    """Return a service's additions, NOTHING without a pod.yaml. service: its folder. Raises ConfigError."""
    return read(text_in(service, FILE))


def read(text: str) -> OwnPod:
    """Return the additions in the text of a pod.yaml, NOTHING for comments alone. Raises ConfigError."""
    result = table_in(FILE, text, File, _mistakes)
    found, lines = result
    if found is None:
        return NOTHING
    (own,) = found.spec.containers or (Container(MODEL),)
    annotations = tuple(sorted(found.metadata.annotations.items()))
    numbered = enumerate(found.spec.initContainers)
    inits = tuple(replace(each, line=lines[f"spec.initContainers[{index}]"]) for index, each in numbered)
    affinity = found.spec.affinity if found.spec.affinity.nodes or found.spec.affinity.pods else None
    spreads = found.spec.topologySpreadConstraints
    return OwnPod(annotations, own.env, own.volumeMounts, found.spec.volumes, spreads, inits, affinity)


def _mistakes(file: File) -> Iterator[tuple[str, str]]:
    """Yield the path and the message of each field that does not agree with another one."""
    spec = file.spec
    volumes = [each.name for each in spec.volumes]
    yield from _repeated("spec.volumes", "name", volumes)
    yield from _repeated(
        "spec.topologySpreadConstraints", "topologyKey", [x.topologyKey for x in spec.topologySpreadConstraints]
    )
    yield from _repeated("spec.containers", "name", [each.name for each in spec.containers])
    yield from _repeated("spec.initContainers", "name", [each.name for each in spec.initContainers])
    for index, volume in enumerate(spec.volumes):
        if sum(getattr(volume, source) is not None for source in SOURCES) != 1:
            yield f"spec.volumes[{index}].name", f"volume {volume.name} needs one source: write one of {', '.join(SOURCES)}"
    yield from affinity_mistakes("spec.affinity", spec.affinity)
    for number, container in enumerate(spec.containers):
        yield from _container_mistakes(f"spec.containers[{number}]", container, volumes)
    for number, own in enumerate(spec.initContainers):
        yield from _container_mistakes(f"spec.initContainers[{number}]", own, volumes)
        yield from _init_mistakes(f"spec.initContainers[{number}]", own)
    mounts = [mount.name for each in spec.containers for mount in each.volumeMounts]
    used = {*mounts, *(mount.name for own in spec.initContainers for mount in own.volumeMounts)}
    for index, name in enumerate(volumes):
        if name not in used:
            yield f"spec.volumes[{index}].name", f"volume {name} is mounted nowhere: add it to volumeMounts, or delete it"


def _container_mistakes(place: str, container: Container | InitContainer, volumes: list[str]) -> Iterator[tuple[str, str]]:
    yield from _repeated(f"{place}.env", "name", [each.name for each in container.env])
    for index, variable in enumerate(container.env):
        yield from _source_mistakes(f"{place}.env[{index}]", variable)
    yield from _mount_mistakes(f"{place}.volumeMounts", container.volumeMounts, volumes)


def _init_mistakes(place: str, own: InitContainer) -> Iterator[tuple[str, str]]:
    least, most = own.resources.requests, own.resources.limits
    for name, amount in least.numbers.items():
        if amount > most.numbers[name]:
            asked, allowed = getattr(least, name), getattr(most, name)
            words = f"{own.name} requests {asked} of {name}, above its limit of {allowed}: raise the limit, or request less"
            yield f"{place}.resources.requests.{name}", words
    for name, _ in () if own.is_sidecar else own.probes:
        words = f"{own.name} ends before the model starts, and has no probe: delete it, or write restartPolicy: {ALWAYS}"
        yield f"{place}.{name}", words


def _source_mistakes(place: str, variable: Variable) -> Iterator[tuple[str, str]]:
    source = variable.valueFrom
    if source is None:
        return
    if variable.value:
        yield f"{place}.name", f"{variable.name} has value and valueFrom: keep one of the two"
    if (source.secretKeyRef is None) == (source.configMapKeyRef is None):
        yield f"{place}.valueFrom", f"{variable.name} needs one source: write secretKeyRef or configMapKeyRef"


def _mount_mistakes(place: str, mounts: Sequence[Mount | OwnMount], volumes: list[str]) -> Iterator[tuple[str, str]]:
    for index, mount in enumerate(mounts):
        if mount.name not in volumes:
            known = f"those of the file are {', '.join(volumes)}" if volumes else "add it to spec.volumes"
            yield f"{place}[{index}].name", f"there is no volume {mount.name}: {known}"
        for other in mounts[:index]:
            if f"{mount.mountPath}/".startswith(f"{other.mountPath}/") or f"{other.mountPath}/".startswith(
                f"{mount.mountPath}/"
            ):
                words = f"{mount.mountPath} and {other.mountPath} lie in one another: choose folders beside each other"
                yield f"{place}[{index}].mountPath", words


def _repeated(place: str, field: str, names: Iterable[Any]) -> Iterator[tuple[str, str]]:
    listed = list(names)
    for name in (name for name, count in Counter(listed).items() if count > 1):
        last = len(listed) - 1 - listed[::-1].index(name)
        yield f"{place}[{last}].{field}", f"{name} stands there twice: keep one of the two"
