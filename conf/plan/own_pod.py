"""pod.yaml: what a service adds to the template of its pods, by an allow-list of fields."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conf.plan.service_files import table_in, text_in
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
SOURCES = ("emptyDir", "persistentVolumeClaim", "configMap", "secret")


def _is_free_name(text: str) -> bool:
    taken = any(text.startswith(each) if each.endswith(("_", "PYTHON")) else text == each for each in PLATFORM_ENV)
    return bool(re.fullmatch("[A-Za-z_][A-Za-z0-9_]{0,99}", text)) and not taken


def _is_free_path(text: str) -> bool:
    inside = any(text.startswith(f"{folder}/") for folder in FOLDERS)
    return inside and bool(re.fullmatch(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+", text)) and len(text) <= 200


def _is_free_volume(text: str) -> bool:
    return bool(re.fullmatch("[a-z]([a-z0-9-]{0,61}[a-z0-9])?", text)) and text not in PLATFORM_VOLUMES


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
    _is_free_volume,
    f"lower-case letters, digits and -, and none of the platform's {', '.join(PLATFORM_VOLUMES)}",
    "cache",
)
MOUNT_PATH = allow.string_where(
    _is_free_path, f"a path below {', '.join(FOLDERS[:-1])} or {FOLDERS[-1]}, without ..", "/mnt/cache"
)
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
    volumes: tuple[Volume, ...] = setting((), List(Volume), "Volumes of the pod.")
    topologySpreadConstraints: tuple[Spread, ...] = setting((), List(Spread), "Groups of nodes to spread over.")


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


NOTHING = OwnPod()


def load(service: Path) -> OwnPod:
    """Return a service's additions, NOTHING without a pod.yaml. service: its folder. Raises ConfigError."""
    return read(text_in(service, FILE))


def read(text: str) -> OwnPod:
    """Return the additions in the text of a pod.yaml, NOTHING for comments alone. Raises ConfigError."""
    found = table_in(FILE, text, File, _mistakes)[0]
    if found is None:
        return NOTHING
    (own,) = found.spec.containers or (Container(MODEL),)
    annotations = tuple(sorted(found.metadata.annotations.items()))
    return OwnPod(annotations, own.env, own.volumeMounts, found.spec.volumes, found.spec.topologySpreadConstraints)


def _mistakes(file: File) -> Iterator[tuple[str, str]]:
    """Yield the path and the message of each field that does not agree with another one."""
    spec = file.spec
    volumes = [each.name for each in spec.volumes]
    yield from _repeated("spec.volumes", "name", volumes)
    yield from _repeated(
        "spec.topologySpreadConstraints", "topologyKey", [x.topologyKey for x in spec.topologySpreadConstraints]
    )
    yield from _repeated("spec.containers", "name", [each.name for each in spec.containers])
    for index, volume in enumerate(spec.volumes):
        if sum(getattr(volume, source) is not None for source in SOURCES) != 1:
            yield f"spec.volumes[{index}].name", f"volume {volume.name} needs one source: write one of {', '.join(SOURCES)}"
    for number, container in enumerate(spec.containers):
        place = f"spec.containers[{number}]"
        yield from _repeated(f"{place}.env", "name", [each.name for each in container.env])
        for index, variable in enumerate(container.env):
            yield from _source_mistakes(f"{place}.env[{index}]", variable)
        yield from _mount_mistakes(f"{place}.volumeMounts", container.volumeMounts, volumes)
    used = {mount.name for container in spec.containers for mount in container.volumeMounts}
    for index, name in enumerate(volumes):
        if name not in used:
            yield f"spec.volumes[{index}].name", f"volume {name} is mounted nowhere: add it to volumeMounts, or delete it"


def _source_mistakes(place: str, variable: Variable) -> Iterator[tuple[str, str]]:
    source = variable.valueFrom
    if source is None:
        return
    if variable.value:
        yield f"{place}.name", f"{variable.name} has value and valueFrom: keep one of the two"
    if (source.secretKeyRef is None) == (source.configMapKeyRef is None):
        yield f"{place}.valueFrom", f"{variable.name} needs one source: write secretKeyRef or configMapKeyRef"


def _mount_mistakes(place: str, mounts: tuple[Mount, ...], volumes: list[str]) -> Iterator[tuple[str, str]]:
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
