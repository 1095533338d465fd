"""Each rule, broken by a real value.py in a real folder: the mistake says where, why and what to do, and none is invented."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from conf.clusters.regions import Regions
from conf.rules.check import Report, check
from conf.rules.other_services import other_services
from tests.conf.check_service import GPU, MODEL, CheckService
from tests.conf.golden import regions
from tests.running import make_service

OFFLINE = 'offline_source = "kafka:videos"\noffline_sinks = ["kafka:ages"]\noffline_secret = "ages"\n'
BY_QUEUE, SHORT_WAIT = 'set autoscale_by = "queue"', "when load rises, new pods may go again"
# The lines of a value.py, the bytes of its model, and the beginning and a part of its mistake.
BROKEN: dict[str, tuple[str, int, str, str]] = {
    "a card that is too small": (
        'tolerations = ["nvidia.com/gpu"]\ngpu_memory = 20\n', 0, "value.py:6: no kind of node in hk",
        "(t4-2 has cards of 15 GiB, and the pod takes 20 of one; cpu-16 has no GPU): for t4-2 ask for 15 or less",
    ),
    "labels that no node has": (
        'node_labels = {"pool": "fast"}\n', 0, "value.py:5: no kind of node in eu",
        "has the labels pool=gpu, not pool=fast and has the taint nvidia.com/gpu:NoSchedule",
    ),
    "taints that are not tolerated": ('node_labels = {"pool": "gpu"}\n', 0, "value.py:5: no kind of node in eu", "pending"),
    "a card on one node alone, which is tainted": (
        "gpu_memory = 8\n", 0, "value.py:5: ", 'for l4-4 write tolerations = ["nvidia.com/gpu:NoSchedule"]',
    ),
    "tolerations of another taint": (
        'tolerations = ["gpu"]\ngpu_memory = 8\n', 0, "", 'for l4-4 add "nvidia.com/gpu:NoSchedule" to tolerations',
    ),
    "more cores than any node": ("cpu = 200\n", 0, "value.py:5: ", "for t4-2 ask for cpu = 31.4 or less; nodes stand in tests"),
    "more memory than any node": ('hk_memory = "900Gi"\n', 0, "", 'ask for memory = "129920Mi" or less; nodes stand in'),
    "more of memory reserved than any node": (
        'hk_memory = "900Gi"\nhk_memory_request = "500Gi"\n', 0, "value.py:6: no kind", 'ask for memory_request = "129920Mi"',
    ),
    "a request above its limit": (
        'memory_request = "5Gi"\n', 0, "value.py:5: memory_request is 5Gi and memory 4Gi", "ask for 4Gi or less",
    ),
    "shared memory that leaves nothing": (
        'shared_memory = "4Gi"\n', 0, "value.py:5: shared_memory is 4Gi and counts against memory", "less than 64Mi are left",
    ),
    "a model that has no room beside shared memory": (
        MODEL + 'shared_memory = "2Gi"\n', 2**30, "value.py:4: memory is 4Gi", 'set memory = "4352Mi" or more',
    ),
    "a node filled to the brim": ("hk_cpu = 31.8\n", 0, "", "0.5 of them the system's, and the pod takes 31.9"),
    "more pods than the quota": (
        "hk_replicas = 150\nhk_cpu = 0.1\n", 0, "value.py:5: 150 pods, and one more while", "take 151 of pods",
    ),
    "two cards for a pod": (
        GPU + "gpu_num = 2\nmax_replicas = 5\ncpu = 3\n", 0, "value.py:7: gpu_num is 2, and a pod has one card",
        "    gpu_num = 1\n    replicas = 4\n    max_replicas = 10\n    cpu = 1.5\n    memory = ",
    ),
    "three cards for a pod of one region": (
        GPU + 'hk_gpu_num = 3\nhk_memory = "4Gi"\n', 0, "value.py:7: gpu_num is 3",
        '    hk_memory = "1366Mi"\nin place of these settings (in hk)',
    ),
    "no model": (MODEL, 0, "value.py:5: 'model/m.onnx' is not in the service's folder", ""),
    "a model that is killed for memory": (
        MODEL + 'hk_memory = "1Gi"\n', 2**30, "value.py:6: memory is 1Gi", '2.25 GiB: set memory = "2304Mi" or more (in hk)',
    ),
    "a model that a GPU's share cannot hold": (
        MODEL + GPU + "ins_num_per_gpu = 2\nhk_gpu_memory = 1\ninit_delay_second = 60\n", 2**30,
        "value.py:9: gpu_memory is 1 GiB", "take 2 GiB for 2 sessions, and 1 GiB stay outside the arena: set gpu_memory = 4",
    ),
    "a model that other models' shares leave too little": (
        MODEL + GPU + 'model_gpu_memory = {"detector": 2}\non_demand_gpu_memory = 0.75\ninit_delay_second = 60\n', 2**30,
        "value.py:7: gpu_memory is 4 GiB and leaves model_path's model 1.25", "set gpu_memory = 5 or more",
    ),
    "shares that take more than there is": (
        GPU + 'model_gpu_memory = {"detector": 3}\non_demand_gpu_memory = 2\n', 0,
        "value.py:8: gpu_memory is 4 GiB, and its shares take 5", "(detector 3, models loaded on first use 2)",
    ),
    "a slow start": (MODEL + "init_delay_second = 2\n", 2**30, "", "takes about 6 s to load"),
    "a host port out of range": (
        "use_srv = True\nhost_port = 80\n", 0, "value.py:6: host_port is 80", "hk allows 20000 to 20999",
    ),
    "a host port where none may be": ("use_srv = True\nhost_port = 20001\n", 0, "", "eu lets no service open a node's port"),
    "a drain that ends before it is noticed": (
        "use_srv = True\nhost_port = 20001\ndrain_delay_second = 4\n", 0, "value.py:7: drain_delay_second is 4", "more than 4",
    ),
    "an upload that outlasts its request": (
        "timeout_second = 5\nupload_timeout_second = 9\n", 0, "value.py:6: upload_timeout_second is 9 and timeout_second 5", "",
    ),
    "rows that may never wait": ("hk_max_rows_per_request = 100\n", 0, "value.py:5: ", "is 100 and queue_limit 64"),
    "nothing anywhere": ("hk_replicas = 0\neu_replicas = 0\nna_replicas = 0\n", 0, "value.py:3: replicas is 0 in every", ""),
    "no password for brokers": (
        'offline_source = "kafka:videos"\noffline_sinks = ["kafka:ages"]\n', 0, "value.py:5: the brokers of hk ask for a",
        'as offline_secret = "like-offline" (in hk)',
    ),
    "no Secret of a database": (
        'offline_source = "kafka:videos"\noffline_sinks = ["postgresql:ages"]\nhk_offline_replicas = 0\n', 0,
        'value.py:6: offline_sinks names "postgresql:ages", and no Secret', "POSTGRESQL_URL",
    ),
    "more online and offline pods than the quota": (
        OFFLINE + "hk_replicas = 40\nhk_offline_replicas = 59\nhk_cpu = 0.1\n", 0,
        "value.py:9: 99 pods, 59 of them offline, and two more", "take 101 of pods, and hk allows a namespace 100",
    ),
    "more offline pods than partitions": (
        OFFLINE + "offline_partitions = 3\neu_offline_replicas = 4\n", 0,
        "value.py:9: 4 offline pods, and kafka:videos has 3 partitions", "make it 3, or correct offline_partitions (in eu)",
    ),
    "an autoscaler above the only partition": (
        OFFLINE + "offline_partitions = 1\noffline_max_replicas = 2\n", 0,
        "value.py:9: 2 offline pods, and kafka:videos has 1 partition (", "(in hk, eu, na)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_told_with_its_place_and_its_cure(check_service: CheckService, name: str) -> None:
    lines, model, begin, told = BROKEN[name]
    mistakes = check_service(lines, model).mistakes
    assert any(mistake.startswith(begin) and told in mistake for mistake in mistakes), mistakes


def test_all_mistakes_are_told_at_once_and_one_of_several_regions_once(check_service: CheckService) -> None:
    lines = "cpu = 200\ntimeout_second = 5\nupload_timeout_second = 9\n" + MODEL
    mistakes = check_service(lines).mistakes
    places = [mistake.partition(": ")[0] for mistake in mistakes]
    assert set(places) >= {"value.py:5", "value.py:7", "value.py:8"}
    assert places == sorted(places)
    assert sum("cannot outlast its request" in mistake for mistake in mistakes) == 1


def test_a_username_is_no_namespace_of_the_clusters_own(tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text('service_name = "demo"\nusername = "envoy-gateway-system"\n', encoding="utf-8")
    unknown, mistake = check(tmp_path, regions()).mistakes
    assert "is not one of the users" in unknown
    assert mistake.startswith("value.py:2: the namespace envoy-gateway-system is")
    assert mistake.endswith("(in eu)")


@pytest.mark.parametrize(("username", "told"), [("like", False), ("lke", True)])
def test_a_user_without_rights_on_the_clusters_is_a_mistake(tmp_path: Path, username: str, told: bool) -> None:
    (tmp_path / "value.py").write_text(f'service_name = "demo"\nusername = "{username}"\n', encoding="utf-8")
    mistakes = check(tmp_path, regions()).mistakes
    assert [line.startswith("value.py:2: lke is not one of the users in tests/golden/regions.yaml:6") for line in mistakes] == (
        [True] if told else []
    )


@pytest.mark.parametrize("image", ["like/demo:latest", "like/demo", "registry.example.com:5000/like/demo"])
def test_an_image_without_a_version_of_its_own_is_a_mistake(check_service: CheckService, image: str) -> None:
    (mistake,) = check_service(image=image).mistakes
    assert mistake.startswith(f"--image: {image} names no version")


def test_a_host_port_is_told_to_leave_the_restricted_standard(check_service: CheckService) -> None:
    report = check_service("use_srv = True\nhost_port = 20001\neu_use_srv = False\n")
    assert report.mistakes == []
    (told,) = (line for line in report.warnings if "label pod-security.kubernetes.io/enforce: privileged" in line)
    assert "where users.like of regions.yaml has" in told


@pytest.mark.parametrize(
    ("lines", "words", "told"),
    [
        ("hk_replicas = 1\n", "leaves no healthy upstream", True),
        ("timeout_second = 900\nstuck_after_second = 900\n", "a node that is taken away waits 600 s", True),
        ("timeout_second = 90\n", "raise stuck_after_second to the deadline", True),
        ('tolerations = ["gpu"]\n', "has such a taint (the taints there are nvidia.com/gpu:NoSchedule)", True),
        ('max_body = "4Gi"\n', "a request that needs more is a 413", True),
        (OFFLINE + "offline_revoke_second = 570\n", "value.py:8: an offline pod may take 610 s to end", True),
        (OFFLINE + "offline_timeout_second = 90\n", "before a record's deadline of 90 s", True),
        ("hk_gpu_memory = 4\nmax_replicas = 3\n", BY_QUEUE, True),
        ('hk_gpu_memory = 4\nmax_replicas = 3\nautoscale_by = "queue"\n', BY_QUEUE, False),
        ("hk_gpu_memory = 4\n", BY_QUEUE, False),
        ("max_replicas = 3\n", BY_QUEUE, False),
        ('max_replicas = 3\nautoscale_by = "queue"\nscale_down_after_second = 89\n', SHORT_WAIT, True),
        ('max_replicas = 3\nautoscale_by = "queue"\nscale_down_after_second = 90\n', SHORT_WAIT, False),
        ('max_replicas = 3\nautoscale_by = "queue"\n', SHORT_WAIT, False),
        ("max_replicas = 3\nscale_down_after_second = 0\n", SHORT_WAIT, False),  # by cores there is no minute to wait for
        ('autoscale_by = "queue"\nscale_down_after_second = 0\n', SHORT_WAIT, False),
    ],
)
def test_what_may_go_wrong_is_a_note_and_no_mistake(check_service: CheckService, lines: str, words: str, told: bool) -> None:
    report = check_service(lines)
    assert report.mistakes == []
    assert any(words in warning for warning in report.warnings) is told


def test_a_method_named_almost_like_a_hook_is_a_note(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", "", "class A(Service):\n    def pre_process(self, request): ...\n")
    words = "src/server.py:2: nothing calls 'pre_process'; did you mean the hook 'preprocess'?"
    assert words in check(folder, regions(), ("prod",)).warnings


def test_a_server_that_holds_nothing_to_serve_is_a_mistake_or_a_note_where_a_name_may_hide_it(tmp_path: Path) -> None:
    certain = check(make_service(tmp_path / "one" / "small", "", "x = 1"), regions(), ("prod",))
    assert any(words.startswith("src/server.py:1: it holds neither") for words in certain.mistakes)
    doubtful = check(make_service(tmp_path / "two" / "small", "", "from cats import web"), regions(), ("prod",))
    assert doubtful.mistakes == []
    assert any("neither a Service nor an application" in words for words in doubtful.warnings)


def test_another_services_name_and_port_are_taken(check_service: CheckService) -> None:
    port = "use_srv = True\nhost_port = 20001\neu_use_srv = False\n"
    check_service(port, name="theirs")
    mistakes = check_service(port, name="mine").mistakes
    assert mistakes[0].startswith("value.py:1: like/demo is taken by theirs")
    assert any(line.startswith("value.py:6: host_port 20001 is taken") for line in mistakes)


def no_brokers(region: str) -> Regions:
    found = regions()
    return replace(found, regions={**found.regions, region: replace(found.regions[region], kafka=None)})


def test_offline_pods_without_brokers_are_told_with_the_place_where_they_are_missing(tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text('service_name = "demo"\nusername = "like"\n' + OFFLINE, encoding="utf-8")
    (mistake,) = check(tmp_path, no_brokers("eu")).mistakes
    assert mistake.startswith('value.py:3: offline_source is "kafka:videos"')
    assert "at tests/golden/regions.yaml:30" in mistake
    assert "eu_offline_replicas = 0" in mistake
    with (tmp_path / "value.py").open("a", encoding="utf-8") as file:
        file.write("eu_offline_replicas = 0\n")
    assert check(tmp_path, no_brokers("eu")).mistakes == []


def test_as_many_offline_pods_as_partitions_are_no_mistake(check_service: CheckService) -> None:
    assert check_service(OFFLINE + "offline_partitions = 3\noffline_replicas = 3\n").mistakes == []
    assert check_service(OFFLINE + "offline_replicas = 3\n").mistakes == []
    assert check_service(OFFLINE + "offline_partitions = 3\noffline_replicas = 0\noffline_max_replicas = 9\n").mistakes == []


def test_a_service_without_pods_of_any_kind_is_told_both_settings(tmp_path: Path) -> None:
    none = 'service_name = "demo"\nusername = "like"\nreplicas = 0\noffline_replicas = 0\n'
    (tmp_path / "value.py").write_text(none + OFFLINE, encoding="utf-8")
    words = "value.py:3: replicas and offline_replicas are 0 in every region, so nothing would run; set one of them in one"
    assert check(tmp_path, regions()).mistakes == [words]


def test_a_service_that_reads_records_alone_is_asked_nothing_about_requests(tmp_path: Path) -> None:
    lines = 'service_name = "demo"\nusername = "like"\nreplicas = 0\nupload_timeout_second = 90\nmax_body = "1Gi"\n'
    (tmp_path / "value.py").write_text(lines + OFFLINE, encoding="utf-8")
    report = check(tmp_path, regions())
    assert report.mistakes == []
    assert [line for line in report.warnings if "gateway" in line] == []
    assert {(row.track, row.replicas, row.answers, row.offline.replicas if row.offline else 0) for row in report.rows} == {
        (track, 0, (), 1) for track in ("prod", "grey", "ab")
    }


def test_a_service_called_as_the_offline_pods_of_another_is_told_to_both(tmp_path: Path) -> None:
    files = {"ages": ("ages", "like", OFFLINE), "other": ("ages-offline", "like", ""), "third": ("ages-offline", "dev", "")}
    for folder, (name, user, lines) in files.items():
        (tmp_path / folder).mkdir()
        text = f'service_name = "{name}"\nusername = "{user}"\n{lines}'
        (tmp_path / folder / "value.py").write_text(text, encoding="utf-8")

    def told(folder: str) -> tuple[list[str], list[str]]:
        others, _ = other_services(tmp_path, tmp_path / folder, regions())
        report = check(tmp_path / folder, regions(), others=others)
        mistakes, warnings = ([each for each in of if "have one name" in each] for of in (report.mistakes, report.warnings))
        return mistakes, warnings

    words = "value.py:1: like/ages-offline and the offline pods of like/ages have one name ({}), and would replace each other:"
    for folder, other in (("ages", "other"), ("other", "ages")):
        mistakes, _ = told(folder)
        assert [line.startswith(words.format(other)) for line in mistakes] == [True], mistakes
    assert told("third")[0] == []
    assert "cannot be in grey or ab-test at a time" in told("third")[1][0]


@pytest.mark.parametrize(
    ("mine", "theirs", "told"),
    [
        ('offline_group = "g"\n', 'offline_group = "g"\n', "(prod) at kafka-1.hk.lan:9093 is"),
        ('offline_group = "g"\n', 'offline_group = "h"\n', ""),
        ('offline_group = "g-grey"\n', 'offline_group = "g"\n', '"g-grey" (prod) at kafka.na.lan:9093 is'),
        ('offline_group = "g"\nhk_offline_replicas = 0\n', 'offline_group = "g"\neu_offline_replicas = 0\n'
         "na_offline_replicas = 0\n", ""),
        ("", "", ""),
    ],
    ids=["the same group", "another group", "the group of the other's grey", "the same group at other brokers", "by default"],
)  # fmt: skip
def test_a_group_that_another_service_has_is_told(tmp_path: Path, mine: str, theirs: str, told: str) -> None:
    for name, lines in (("mine", mine), ("theirs", theirs)):
        (tmp_path / name).mkdir()
        text = f'service_name = "{name}"\nusername = "like"\n' + OFFLINE + lines
        (tmp_path / name / "value.py").write_text(text, encoding="utf-8")
    others, _ = other_services(tmp_path, tmp_path / "mine", regions())
    mistakes = check(tmp_path / "mine", regions(), others=others).mistakes
    assert [told in line for line in mistakes] == ([True] if told else []), mistakes


def test_services_of_one_namespace_share_its_quota(check_service: CheckService) -> None:
    check_service("hk_replicas = 60\nhk_cpu = 0.1\n", name="theirs")
    mistakes = check_service("hk_replicas = 60\nhk_cpu = 0.1\n", name="mine").mistakes
    assert any("like in hk take 120 of pods, and" in line for line in mistakes)


def test_the_containers_of_a_service_beside_it_count_in_the_quota_too(check_service: CheckService) -> None:
    size = "{cpu: 100m, memory: 500Gi}"
    image = f"x.example.com/y@sha256:{'0' * 64}"
    own = f"{{name: y, image: {image}, restartPolicy: Always, resources: {{requests: {size}, limits: {size}}}}}"
    pod = f"spec:\n  initContainers:\n    - {own}\n"
    check_service("hk_cpu = 0.1\n", name="theirs", files={"pod.yaml": pod})
    mistakes = check_service("hk_cpu = 0.1\n", name="mine").mistakes
    assert any("all services of like in hk take 1016.5 GiB of memory" in line for line in mistakes), mistakes


def test_a_service_beside_it_with_a_wrong_pod_yaml_is_left_out_and_named(check_service: CheckService, tmp_path: Path) -> None:
    check_service(name="bad", files={"pod.yaml": "spec: 3\n"})
    found, warnings = other_services(tmp_path, tmp_path / "me", regions())
    assert (found, warnings[0][:38]) == ((), "bad: left out, since its pod.yaml:1: s")


def test_a_service_beside_it_that_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "value.py").write_text("cpu = x\n")
    found, warnings = other_services(tmp_path, tmp_path / "me", regions())
    assert found == ()
    assert warnings[0].startswith("bad: left out, since its value.py has")


NAMES = 'service_name = "demo"\nusername = "like"\n'


@pytest.fixture
def check_files(tmp_path: Path) -> Callable[..., Report]:
    """Return a function that checks a service of this value.py and this alerts.yaml. image: as --image names it."""

    def run(text: str, alerts: str = "", image: str = "") -> Report:
        (tmp_path / "me").mkdir(exist_ok=True)
        (tmp_path / "me" / "value.py").write_text(text, encoding="utf-8")
        (tmp_path / "me" / "alerts.yaml").write_text(alerts, encoding="utf-8")
        others, _ = other_services(tmp_path, tmp_path / "me", regions())
        return check(tmp_path / "me", regions(), image_name=image, others=others)

    return run


ONE_OF_EACH = (
    NAMES
    + """hk_replica = 2
memory = "512"
cpu =
import os
replicas = 3
max_replicas = 2
gpu_memory = 8
timeout_second = 5
upload_timeout_second = 9
model_path = "model/m.onnx"
"""
)


def test_spelling_kinds_rules_placing_and_files_are_told_in_one_run(check_files: Callable[..., Report]) -> None:
    told = check_files(ONE_OF_EACH, "groups: 3\n", "A b").mistakes
    expected = [
        ("--image", "'A b' is not the name of an image"),
        ("alerts.yaml:1", "groups must be a list of tables"),
        ("value.py:3", "no setting 'hk_replica'; did you mean 'hk_replicas'?"),
        ("value.py:4", "memory is '512', but must be a quantity"),
        ("value.py:5", "cpu has no value"),
        ("value.py:6", "only lines of the form name = value may stand here"),
        ("value.py:8", "max_replicas is 2 and replicas 3"),
        ("value.py:9", "no kind of node in eu takes the pod"),
        ("value.py:11", "upload_timeout_second is 9 and timeout_second 5"),
        ("value.py:12", "'model/m.onnx' is not in the service's folder"),
    ]
    assert [line.partition(": ")[0] for line in told] == [place for place, _ in expected]
    assert all(words in line for (_, words), line in zip(expected, told, strict=True)), told


@pytest.mark.parametrize(
    "lines",
    [
        'provider = "cuda"\ngpu_memory = "8 GiB"\n',
        'provider = "cuda"\ngpu_memory =\n',
        'provider = "cuda"\ngpu_memory = 8 GiB\n',
        'provider = "cuda"\ngpu = 8\n',
        'provider = "cuda"\ngpu_memori = 8\n',
        "use_srv = True\n",
        'gpu_memory = 8\ntolerations = "nvidia.com/gpu"\n',
        'gpu_memory = 8\ntoleration = ["nvidia.com/gpu"]\n',
        'replicas = 0\nhk_replicas = "2"\n',
        'max_rows_per_request = 100\nqueue_limit = "128"\n',
        "timeout_second = {}\nupload_timeout_second = 60\n",
        'hk_replicas = 150\nhk_cpu = "little"\neu_replicas = 1\n',
    ],
)
def test_a_mistake_is_followed_by_no_invented_one(check_files: Callable[..., Report], lines: str) -> None:
    assert len(check_files(NAMES + lines).mistakes) == 1


@pytest.mark.parametrize("wrong", ["hk_cpu", "cpu"])
def test_a_mistake_hides_none_of_a_region_that_sets_its_own(check_files: Callable[..., Report], wrong: str) -> None:
    told = check_files(NAMES + f'{wrong} = "little"\neu_cpu = 200\n').mistakes
    assert [line.partition(": ")[0] for line in told] == ["value.py:3", "value.py:4"]
    assert "no kind of node in eu" in told[1]


def test_a_wrong_name_is_compared_with_no_other_service(check_files: Callable[..., Report], tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "value.py").write_text('service_name = "unknown"\nusername = "unknown"\n', encoding="utf-8")
    told = check_files('service_name = "Demo"\nusername = 3\ncpu = 60\n')
    assert [line.partition(": ")[0] for line in told.mistakes] == ["value.py:1", "value.py:2", *["value.py:3"] * 3]
    assert not any("unknown" in line for line in [*told.mistakes, *told.warnings])


def test_what_is_not_certain_is_no_row(check_files: Callable[..., Report]) -> None:
    assert check_files(NAMES + 'cpu = "little"\n').rows == []
    assert check_files(NAMES).rows != []
