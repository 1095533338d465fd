"""pod.yaml adds listed fields to every pod of its service, and each mistake is told with its line."""

from pathlib import Path
from typing import Any

import pytest

import monopod
from conf.base.image_names import image
from conf.plan.own_pod import NOTHING, load, read
from conf.plan.plan import TRACKS, Own, plan
from conf.render.arms import BASELINE, CANARY, arm_items
from conf.render.templates import Rendered
from conf.rules.check import Report, check
from serving.settings import load as load_value
from serving.settings.reader import ConfigError
from tests.conf.golden import GOLDEN, SERVICES, regions

EVERY = SERVICES["every-setting"]
GOOD = (EVERY / "pod.yaml").read_text(encoding="utf-8")
REGIONS = ["--regions", str(GOLDEN / "regions.yaml")]


def rendered(track: str, region: str = "") -> Rendered:
    value = load_value(EVERY / "value.py", tuple(regions().regions))
    found = plan(value, regions(), track, image("r.example.com/like/demo:1.2"), Own(pod=read(GOOD)))
    return Rendered(next(each for each in found if each.online and region in ("", each.region)))


def pods(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item["spec"]["template"] for item in items if item["kind"] == "Deployment"]


def has_the_additions(pod: dict[str, Any]) -> bool:
    (container,) = pod["spec"]["containers"]
    return (
        pod["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "true"
        and {"name": "OMP_WAIT_POLICY", "value": "PASSIVE"} in container["env"]
        and {"name": "cache", "mountPath": "/mnt/cache"} in container["volumeMounts"]
        and {"name": "cache", "emptyDir": {"sizeLimit": "2Gi"}} in pod["spec"]["volumes"]
        and pod["spec"]["topologySpreadConstraints"][1]["topologyKey"] == "topology.kubernetes.io/zone"
        and [(each["name"], each.get("restartPolicy")) for each in pod["spec"]["initContainers"]]
        == [("fetch-index", None), ("redis", "Always")]
        and pod["spec"]["affinity"].keys() == {"nodeAffinity", "podAffinity", "podAntiAffinity"}
    )


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "spec: {}\n", "metadata: {}\n"])
def test_a_file_without_fields_and_a_service_without_the_file_add_nothing(tmp_path: Path, text: str) -> None:
    assert read(text) == load(tmp_path) == NOTHING


@pytest.mark.parametrize("track", TRACKS)
def test_the_pods_of_every_track_have_the_additions(track: str) -> None:
    found = pods(rendered(track).items)
    assert found
    assert [has_the_additions(pod) for pod in found] == [True] * len(found)


def test_offline_pods_have_the_additions_too() -> None:
    value = load_value(EVERY / "value.py", tuple(regions().regions))
    found = plan(value, regions(), "prod", image("r.example.com/like/demo:1.2"), Own(pod=read(GOOD)))
    reading = [pod for each in found if each.offline for pod in pods(Rendered(each).items)]
    named = [pod for pod in reading if pod["spec"]["containers"][0]["name"].endswith("-offline")]
    assert named
    assert all(has_the_additions(pod) for pod in named)


@pytest.mark.parametrize("suffix", [CANARY, BASELINE])
def test_the_arms_of_a_canary_have_the_additions_and_spread_their_own_pods(suffix: str) -> None:
    made = rendered("prod")
    (pod,) = pods(arm_items(made.items, made.plan.name, suffix, 2))
    assert has_the_additions(pod)
    selector = pod["spec"]["topologySpreadConstraints"][1]["labelSelector"]["matchLabels"]
    assert selector == {"app.kubernetes.io/name": f"{made.plan.name}{suffix}"}


@pytest.mark.parametrize("suffix", [CANARY, BASELINE])
def test_an_arm_avoids_its_own_pods_where_the_service_avoids_its_own(suffix: str) -> None:
    made = rendered("prod")
    (pod,) = pods(arm_items(made.items, made.plan.name, suffix, 2))
    found = {
        name: each["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"]["labelSelector"]["matchLabels"]
        for name, each in pod["spec"]["affinity"].items()
        if name != "nodeAffinity"
    }
    assert found == {"podAffinity": {"app": "index"}, "podAntiAffinity": {"app": f"{made.plan.name}{suffix}"}}


def test_an_affinity_leaves_the_platforms_choice_of_nodes_as_it_is() -> None:
    own, platforms = pods(rendered("prod", "hk").items)[0]["spec"], ("nodeSelector", "tolerations")
    value = load_value(EVERY / "value.py", tuple(regions().regions))
    found = plan(value, regions(), "prod", image("r.example.com/like/demo:1.2"))
    plain = pods(Rendered(next(each for each in found if each.region == "hk")).items)[0]["spec"]
    assert [own[key] for key in platforms] == [plain[key] for key in platforms]
    assert "requiredDuringScheduling" not in str(own["affinity"])


def test_an_affinity_without_a_preference_adds_nothing() -> None:
    assert read("spec: {affinity: {nodeAffinity: {}}}\n") == NOTHING


def test_the_platforms_part_of_the_pod_stays_as_it_is() -> None:
    (own,) = pods(rendered("grey").items)[:1]
    value = load_value(EVERY / "value.py", tuple(regions().regions))
    (plain,) = pods(Rendered(plan(value, regions(), "grey", image("r.example.com/like/demo:1.2"))[0]).items)[:1]
    additions = ("env", "volumeMounts")
    before, after = plain["spec"]["containers"][0], own["spec"]["containers"][0]
    assert {key: each for key, each in before.items() if key not in additions} == {
        key: each for key, each in after.items() if key not in additions
    }
    for key in additions:
        assert after[key][: len(before[key])] == before[key]
    assert own["spec"]["volumes"][: len(plain["spec"]["volumes"])] == plain["spec"]["volumes"]


def test_the_render_marks_each_addition() -> None:
    marked = [line.strip() for line in rendered("grey").text.splitlines() if line.endswith(" # from pod.yaml")]
    assert '- name: "OMP_WAIT_POLICY" # from pod.yaml' in marked
    assert '- topologyKey: "topology.kubernetes.io/zone" # from pod.yaml' in marked
    assert len(marked) % len(pods(rendered("grey").items)) == 0


ENV = "- {name: OMP_WAIT_POLICY, value: PASSIVE}"
CACHE = "{name: cache, mountPath: /mnt/cache}"
EMPTY = "{name: cache, emptyDir: {sizeLimit: 2Gi}}"
ZONE = "{topologyKey: topology.kubernetes.io/zone, maxSkew: 2}"
REFUSED_ENV = (
    "MONOPOD_TRACK",
    "KAFKA_BROKERS",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PATH",
    "HOME",
    "1A",
)
REFUSED_PATHS = (
    *("/tmp", "/tmp/x", "/app/src", "/app/model", "/dev/shm", "/var/run/secrets", "/data", "/etc/kafka", "/", "/mnt", "/proc"),
    *("/mnt/../app", "/mnt//x", "/mnt/x/", "mnt/x", "/mnt/.", "/venv/bin", "/mnt/a:b"),
)
REFUSED_SPEC = (
    *("hostNetwork: true", "hostPID: true", "serviceAccountName: admin", "automountServiceAccountToken: true", "nodeName: a"),
    *("securityContext: {}", "ephemeralContainers: []", "priorityClassName: high", "runtimeClassName: x"),
    *("tolerations: []", "nodeSelector: {}", "hostAliases: []", "dnsPolicy: None", "terminationGracePeriodSeconds: 1"),
)
REFUSED_CONTAINER = (
    "image: x",
    "command: [sh]",
    "args: [x]",
    "ports: []",
    "securityContext: {}",
    "livenessProbe: {}",
    "lifecycle: {}",
)
IMAGE = next(line.strip() for line in GOOD.splitlines() if "image: " in line)
REFUSED = [
    *((ENV, ENV.replace("OMP_WAIT_POLICY", name), "pod.yaml:7: spec.containers[0].env[0].name is") for name in REFUSED_ENV),
    *(
        (CACHE, CACHE.replace("/mnt/cache", path), "pod.yaml:11: spec.containers[0].volumeMounts[0].mountPath is")
        for path in REFUSED_PATHS
    ),
    *(
        ("  containers:\n", f"  {field}\n  containers:\n", f"pod.yaml:4: no setting '{field.partition(':')[0]}'")
        for field in REFUSED_SPEC
    ),
    *(
        ("      env:\n", f"      {field}\n      env:\n", f"pod.yaml:6: no setting '{field.partition(':')[0]}'")
        for field in REFUSED_CONTAINER
    ),
    (ENV, "- {name: OMP_WAIT_POLICY, value: 1}", "pod.yaml:7: spec.containers[0].env[0].value is 1, but must be a text"),
    (ENV, ENV.replace("OMP_WAIT_POLICY", "INDEX_HOST"), "pod.yaml:9: INDEX_HOST stands there twice"),
    ("valueFrom: {secretKeyRef: {name: index, key: token}}", "valueFrom: {}", "INDEX_TOKEN needs one source"),
    ("INDEX_TOKEN, valueFrom", "INDEX_TOKEN, value: a, valueFrom", "pod.yaml:8: INDEX_TOKEN has value and valueFrom"),
    ("secretKeyRef", "fieldRef", "pod.yaml:8: no setting 'fieldRef' here"),
    ("- name: model", "- name: other", "pod.yaml:5: spec.containers[0].name is 'other', but must be one of \"model\""),
    ("  volumes:\n", "    - {name: model}\n  volumes:\n", "model stands there twice"),
    (EMPTY, "{name: cache, emptyDir: {}}", "spec.volumes[0].emptyDir.sizeLimit is missing"),
    (EMPTY, "{name: cache, emptyDir: {sizeLimit: 2Gi, medium: Memory}}", "no setting 'medium' here"),
    (EMPTY, "{name: cache, hostPath: {path: /}}", "no setting 'hostPath' here"),
    (EMPTY, "{name: cache, projected: {}}", "no setting 'projected' here"),
    (EMPTY, "{name: cache}", "pod.yaml:16: volume cache needs one source"),
    (EMPTY, "{name: cache, emptyDir: {sizeLimit: 2Gi}, secret: {secretName: a}}", "volume cache needs one source"),
    (EMPTY, "{name: tmp, emptyDir: {sizeLimit: 2Gi}}", "spec.volumes[0].name is 'tmp'"),
    (EMPTY, "{name: other, emptyDir: {sizeLimit: 2Gi}}", "pod.yaml:16: volume other is mounted nowhere"),
    (EMPTY, "{name: other, emptyDir: {sizeLimit: 2Gi}}", "pod.yaml:11: there is no volume cache"),
    (EMPTY, "{name: index, emptyDir: {sizeLimit: 2Gi}}", "index stands there twice"),
    (CACHE, "{name: cache, mountPath: /srv/index/x}", "/srv/index and /srv/index/x lie in one another"),
    (CACHE, "{name: cache, mountPath: /mnt/cache, subPath: a}", "no setting 'subPath' here"),
    (ZONE, "{topologyKey: kubernetes.io/hostname}", "a node's label other than kubernetes.io/hostname"),
    (ZONE, "{topologyKey: zone, whenUnsatisfiable: DoNotSchedule}", "whenUnsatisfiable is 'DoNotSchedule'"),
    ("cluster-autoscaler.kubernetes.io/safe-to-evict", "sidecar.istio.io/inject", "metadata.annotations is"),
    ("metadata:\n", "metadata:\n  labels: {a: b}\n", "pod.yaml:2: no setting 'labels' here"),
    ("metadata:\n", "kind: Pod\nmetadata:\n", "pod.yaml:1: no setting 'kind' here"),
    *(
        (f"\n      {field}", f"\n      {other}", f"pod.yaml:{line}: spec.initContainers[{number}].{field.partition(':')[0]} is")
        for line, number, field, other in (
            (24, 0, IMAGE, "image: registry.example.com/tools/fetch:1"),
            (24, 0, IMAGE, "image: Fetch"),
            (25, 0, "command: [fetch]", "command: fetch"),
            (25, 0, "command: [fetch]", "command: [1]"),
            (34, 1, "restartPolicy: Always", "restartPolicy: OnFailure"),
        )
    ),
    *(
        ("- name: fetch-index", f"- name: {name}", "pod.yaml:23: spec.initContainers[0].name is")
        for name in ("model", "istio-proxy", "Fetch")
    ),
    *(
        ("mountPath: /data", f"mountPath: {path}", "pod.yaml:36: spec.initContainers[1].volumeMounts[0].mountPath is")
        for path in ("/", "/proc", "/dev/shm", "/sys/fs", "/a/../proc", "a")
    ),
    *(
        ("      command: [fetch]\n", f"      {field}\n", f"pod.yaml:25: no setting '{field.partition(':')[0]}'")
        for field in (
            "ports: []",
            "securityContext: {privileged: true}",
            "livenessProbe: {}",
            "envFrom: []",
            "lifecycle: {}",
            "workingDir: /",
            "imagePullPolicy: Always",
            "volumeDevices: []",
            "resizePolicy: []",
        )
    ),
    ("- name: redis", "- name: fetch-index", "pod.yaml:32: fetch-index stands there twice"),
    ("cpu: 250m", "cpu: 250", "pod.yaml:31: fetch-index requests 250 of cpu, above its limit of 1"),
    ("memory: 64Mi", "memory: 1Gi", "pod.yaml:31: fetch-index requests 1Gi of memory, above its limit of 128Mi"),
    ("{cpu: 250m, memory: 64Mi}", "{memory: 64Mi}", "spec.initContainers[0].resources.requests.cpu is missing"),
    (", limits: {cpu: 1, memory: 128Mi}", "", "spec.initContainers[0].resources.limits is missing"),
    ("cpu: 250m, memory: 64Mi", "cpu: 250m, memory: 64Mi, nvidia.com/gpu: 1", "no setting 'nvidia.com/gpu' here"),
    ("cpu: 250m", "cpu: 0", "cpu is 0, but must be cores from 0.001 to 256"),
    ("      restartPolicy: Always\n", "", "redis ends before the model starts, and has no probe: delete it, or write"),
    ("exec: {command: [redis-cli, ping]}", "httpGet: {port: 8080}", "pod.yaml:39: no setting 'httpGet' here"),
    ("name: cache, mountPath: /data", "name: tmp, mountPath: /data", "spec.initContainers[1].volumeMounts[0].name is 'tmp'"),
    ("name: cache, mountPath: /data", "name: none, mountPath: /data", "pod.yaml:36: there is no volume none"),
    (
        "command: [fetch]",
        "env: [{name: LD_PRELOAD, value: x}]",
        "pod.yaml:25: spec.initContainers[0].env[0].name is 'LD_PRELOAD'",
    ),
    *(
        (f"    {kind}:\n", f"    {kind}:\n      requiredDuringSchedulingIgnoredDuringExecution: {{}}\n", told)
        for kind, told in (
            ("nodeAffinity", "a demand could keep a pod from every node: write node_labels in value.py"),
            ("podAffinity", "a demand could keep a pod from every node: write it under preferred"),
            ("podAntiAffinity", "podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution is {}, but must be left out"),
        )
    ),
    ("operator: In", "operator: Gt", "operator is 'Gt', but must be one of"),
    (
        "operator: In, values: [ssd]",
        "operator: In",
        "pod.yaml:45: In of disk: In and NotIn have values, the others have none: write values",
    ),
    ("operator: DoesNotExist", "operator: Exists, values: [a]", "pod.yaml:45: Exists of spot: "),
    ("weight: 80", "weight: 0", "weight is 0, but must be a whole number from 1 to 100"),
    ("{matchLabels: {app: index}}", "{matchLabels: {}}", "pod.yaml:49: a selector without a label is about every pod"),
    (
        "[{key: disk, operator: In, values: [ssd]}, {key: spot, operator: DoesNotExist}]",
        "[]",
        "pod.yaml:45: a preference without",
    ),
    ("{matchLabels: {app: index}}", "{matchExpressions: []}", "no setting 'matchExpressions' here"),
    ("topologyKey: kubernetes.io/hostname, labelS", "namespaces: [a], topologyKey: x, labelS", "no setting 'namespaces' here"),
    ("PASSIVE", "&x PASSIVE", "anchors (&) and aliases (*) may not stand here"),
]


@pytest.mark.parametrize(("old", "new", "told"), REFUSED)
def test_a_mistake_is_told_with_its_line(old: str, new: str, told: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        read(GOOD.replace(old, new, 1))
    assert any(told in line for line in caught.value.mistakes), caught.value.mistakes


def service(folder: Path, pod: str) -> Path:
    (folder / "value.py").write_text('service_name = "demo"\nusername = "like"\nreplicas = 2\n', encoding="utf-8")
    (folder / "pod.yaml").write_text(pod, encoding="utf-8")
    return folder


def test_check_tells_every_mistake_of_the_file_at_once_beside_those_of_other_files(tmp_path: Path) -> None:
    wrong = GOOD.replace("OMP_WAIT_POLICY", "LD_PRELOAD").replace("/mnt/cache", "/tmp")
    folder = service(tmp_path, wrong)
    (folder / "alerts.yaml").write_text("groups: 3\n", encoding="utf-8")
    places = [line.partition(": ")[0] for line in check(folder, regions()).mistakes]
    assert places == ["alerts.yaml:1", "pod.yaml:7", "pod.yaml:11"]


def test_a_file_that_is_not_text_is_told_in_a_sentence(tmp_path: Path) -> None:
    service(tmp_path, "")
    (tmp_path / "pod.yaml").write_bytes(b"\xff\xfe")
    assert "pod.yaml: is not UTF-8 text; save it anew as text, or delete it" in check(tmp_path, regions()).mistakes


def test_check_and_render_take_a_good_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = service(tmp_path, GOOD)
    assert monopod.main(["check", "--service", str(folder), *REGIONS]) == 0
    capsys.readouterr()
    assert monopod.main(["render", "--service", str(folder), *REGIONS]) == 0
    assert '- name: "INDEX_TOKEN" # from pod.yaml' in capsys.readouterr().out


def test_the_containers_of_a_service_are_restricted_whatever_their_image_says() -> None:
    for pod in pods(rendered("prod").items):
        for own in pod["spec"]["initContainers"]:
            assert own["securityContext"] == pod["spec"]["containers"][0]["securityContext"]
            assert {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"} in own["env"]
            assert {"requests", "limits"} == own["resources"].keys()


def test_a_volume_of_a_container_of_the_service_alone_is_mounted_somewhere() -> None:
    only = GOOD.replace("        - {name: cache, mountPath: /mnt/cache}\n", "", 1)
    assert [each.name for each in read(only).volumes][:1] == ["cache"]


def test_a_container_with_the_name_of_the_models_is_told_with_its_line(tmp_path: Path) -> None:
    folder = service(tmp_path, GOOD.replace("- name: redis", "- name: demo"))
    told = [line for line in check(folder, regions()).mistakes if line.startswith("pod.yaml:32: the container demo has")]
    assert len(told) == 1
    assert "choose another, such as demo-data" in told[0]


def test_check_counts_the_containers_of_a_service_in_fit_quota_and_price(tmp_path: Path) -> None:
    def report(pod: str) -> Report:
        return check(service(tmp_path, pod), regions(), ["prod"])

    larger = GOOD.replace("cpu: 0.25, memory: 256Mi", "cpu: 8, memory: 8Gi").replace(
        "cpu: 0.5, memory: 5", "cpu: 8, memory: 95"
    )
    plain, more = report(""), report(larger)
    assert more.mistakes == []
    prices = [(before.price, after.price) for before, after in zip(plain.rows, more.rows, strict=True)]
    assert all(before and after and after > 2 * before for before, after in prices), prices
    large = report(GOOD.replace("cpu: 0.25, memory", "cpu: 200, memory").replace("cpu: 0.5, memory", "cpu: 200, memory"))
    assert any(line.startswith("pod.yaml:23: no kind of node in hk") for line in large.mistakes), large.mistakes


def test_render_refuses_a_wrong_file_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = service(tmp_path, GOOD.replace("/mnt/cache", "/app/src"))
    assert monopod.main(["render", "--service", str(folder), *REGIONS]) == 1
    assert "pod.yaml:11: spec.containers[0].volumeMounts[0].mountPath is '/app/src'" in capsys.readouterr().err
