"""value.py becomes settings, or all of its mistakes in words."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.settings import SettingsError, ValueFile, load, read
from serving.settings.declarations import declared_settings
from serving.settings.value_file import OTHER_NAMES, WrongSettingError

NAMES = 'service_name = "demo"\nusername = "like"\n'
READS = 'offline_source = "kafka:videos"\n'
REGIONS = ("hk", "eu", "na")
SENTENCE = re.compile(r"value\.py(:[1-9]\d*)?: \S.{10,}", re.DOTALL)


def reading(lines: str, regions: tuple[str, ...] | None = REGIONS) -> ValueFile:
    """Read lines that follow the two names, so that the first of them is line 3."""
    return read(NAMES + lines, "value.py", regions)


def mistakes(lines: str, regions: tuple[str, ...] | None = REGIONS) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        reading(lines, regions)
    assert str(caught.value) == "\n".join(caught.value.mistakes)
    return list(caught.value.mistakes)


def test_a_region_overrides_any_setting_and_no_other_region() -> None:
    file = reading('cpu = 2\nreplicas = 3\nhk_replicas = 5\neu_memory = "8Gi"\n')
    assert file.settings.replicas == 3
    assert file.in_region("hk").replicas == 5
    assert file.in_region("hk").cpu == 2.0
    assert file.in_region("hk").memory == "2Gi"
    assert file.in_region("eu").memory == "8Gi"
    assert file.in_region("na") == file.settings
    assert file.overrides == {"hk": {"replicas": 5}, "eu": {"memory": "8Gi"}}


def test_every_setting_but_the_names_can_be_overridden() -> None:
    values = {
        name: a.default
        for name, a in declared_settings().items()
        if a.default is not None and name not in ("use_srv", "host_port")
    }
    file = reading("".join(f"hk_{name} = {value!r}\n" for name, value in values.items()))
    assert set(file.overrides["hk"]) == set(values)


def test_where_regions_are_not_known_any_short_word_may_be_one() -> None:
    assert reading("tokyo_replicas = 4\n", None).in_region("tokyo").replicas == 4
    (mistake,) = mistakes("tokyo_replicas = 4\n")
    assert mistake.startswith("value.py:3: no setting 'tokyo_replicas', ")
    assert "is not a region: use one of hk, eu, na" in mistake
    assert mistakes("tokyo_replicass = 4\n", None)[0].startswith("value.py:3: no setting 'tokyo_replicass'")


def test_a_setting_is_not_taken_for_a_region() -> None:
    file = reading("gpu_memory = 4\nmax_replicas = 2\nab_replicas = 3\n", None)
    assert file.overrides == {}
    assert (file.settings.gpu_memory, file.settings.max_replicas, file.settings.ab_replicas) == (4.0, 2, 3)


def test_the_nearest_name_is_offered() -> None:
    for name, cure in (("hk_replica", "'hk_replicas'?"), ("memoy", "'memory'?"), ("zzzzzz", "`monopod settings` lists them")):
        (mistake,) = mistakes(f"{name} = 2")
        assert mistake.startswith(f"value.py:3: no setting '{name}'; ")
        assert mistake.endswith(cure)


@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("gpu = 1", "'gpu_memory' (GiB of one GPU)"),
        ("hk_gpu = 1", "'hk_gpu_memory' (GiB of one GPU)"),
        ("user = 'x'", "'username'"),
        ("min_replicas = 2", "'replicas' (pods)"),
    ],
)
def test_a_name_that_people_write_for_a_setting_finds_it(line: str, near: str) -> None:
    assert mistakes(line) == [f"value.py:3: no setting {line.split()[0]!r}; did you mean {near}?"]


def test_every_other_name_is_the_name_of_no_setting_and_leads_to_one() -> None:
    assert not OTHER_NAMES.keys() & declared_settings().keys()
    assert set(OTHER_NAMES.values()) <= declared_settings().keys()


@pytest.mark.parametrize(
    ("line", "cure"),
    [
        ('cpu = "2"', "; drop the quotes: 2"),
        ('use_srv = "True"', "; did you mean True?"),
        ("use_srv = true", "use_srv is true, which Python writes True: use_srv = True"),
        ('memory = "512"', '; did you mean "512Mi"?'),
        ('memory = "4"', '; did you mean "4Gi"?'),
        ('memory = "4GB"', '; did you mean "4Gi"?'),
        ("memory = 4", '; did you mean "4Gi"?'),
        ("replicas = 4 pods", "it must be a whole number from 0 to 1000: write replicas = 1 or delete the line"),
        ('tolerations = "gpu"', '; did you mean ["gpu"]?'),
        ('node_labels = ["pool=gpu"]', '; did you mean {"pool": "gpu"}?'),
        ('node_labels = {"gpu": True}', '; did you mean {"gpu": "true"}?'),
        ('provider = "CUDA"', '; did you mean "cuda"?'),
        ('model_path = "./model/m.onnx"', '; did you mean "model/m.onnx"?'),
        ('model_path = "model\\\\m.onnx"', '; did you mean "model/m.onnx"?'),
    ],
)
def test_a_value_that_is_not_allowed_comes_with_the_nearest_that_is(line: str, cure: str) -> None:
    (mistake,) = mistakes(line)
    assert mistake.endswith(cure)
    assert mistake.startswith("value.py:3: ")


@pytest.mark.parametrize(
    ("name", "near"), [("grey", "my-grey"), ("kube-x", "my-kube-x"), ("Like_Team", "like-team"), ("keda", "my-keda")]
)
def test_a_name_that_may_not_be_is_told_which_are_reserved_and_a_near_one(name: str, near: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(f'service_name = "demo"\nusername = "{name}"\n', "value.py", REGIONS)
    (mistake,) = caught.value.mistakes
    assert "reserved grey, ab-test, gateway, logs, " in mistake
    assert mistake.endswith(f'; did you mean "{near}"?')


def test_what_cannot_be_guessed_is_not_guessed() -> None:
    for line in (
        "cpu = 'two'",
        "memory = 'much'",
        "cpu = 0x" + "f" * 5000,
        "tolerations = " + repr("x" * 500),
        "memory = True",
    ):
        (mistake,) = mistakes(line)
        assert "did you mean" not in mistake
        assert "quotes" not in mistake


def test_what_is_wrong_stands_at_its_default_and_may_not_be_judged() -> None:
    with pytest.raises(SettingsError) as caught:
        reading('cpu = "little"\nhk_cpu = 3\neu_memory = "much"\nreplicas = 4\n')
    rest = caught.value.rest
    assert rest
    assert (rest.in_region("hk").cpu, rest.in_region("eu").cpu, rest.in_region("eu").memory) == (3.0, 1.0, "2Gi")
    assert (rest.checkable_in("hk").cpu, rest.checkable_in("na").memory, rest.checkable_in("eu").replicas) == (3.0, "2Gi", 4)
    for region, setting in (("eu", "cpu"), ("eu", "memory"), ("", "cpu")):
        with pytest.raises(WrongSettingError):
            getattr(rest.checkable_in(region), setting)


def test_a_rule_between_settings_is_judged_beside_other_mistakes() -> None:
    found = mistakes('fp16 = True\ncpu = "little"\ncpu_limit = 0.5\n')
    assert [line.partition(": ")[0] for line in found] == ["value.py:3", "value.py:4"]


def test_all_mistakes_come_at_once_in_the_order_of_lines() -> None:
    text = 'cpu = "two"\nreplicas = -1\nfoo = 1\nuse_srv =\nimport os\nthis was nothing\ncpu = 2\nhk_replicas = [1]\n'
    found = mistakes(text)
    assert [int(m.split(":")[1]) for m in found] == [3, 4, 5, 6, 7, 8, 9, 10]
    assert "cpu is 'two', " in found[0]
    assert found[0].endswith("from 0.1 to 256 (cores)")
    assert "replicas is -1, " in found[1]
    assert "cpu is already set on line 3" in found[6]
    assert "hk_replicas is [1], " in found[7]
    assert found[7].endswith("from 0 to 1000 (pods)")


def test_a_setting_without_a_value_gets_the_best_message() -> None:
    for line, cure in (("use_srv =\n", "write use_srv = False"), ("hk_replicas =   # later\n", "write hk_replicas = 1")):
        (mistake,) = mistakes(line)
        assert "has no value" in mistake
        assert mistake.endswith(f"{cure} or delete the line")
    (mistake,) = mistakes("replicsa =\n")
    assert mistake.startswith("value.py:3: replicsa has no value; ")
    assert mistake.endswith("'replicas'?")


def test_what_is_not_a_literal_is_told_what_may_stand_there() -> None:
    (mistake,) = mistakes("replicas = count()\n")
    assert mistake.startswith("value.py:3: replicas must be a literal")
    assert mistake.endswith("write replicas = 1 or delete the line")


def test_a_missing_name_is_told_once() -> None:
    with pytest.raises(SettingsError) as caught:
        read("service_name =\n", "value.py", None)
    username, service_name = caught.value.mistakes
    assert username.startswith("value.py: username is missing; ")
    assert service_name.startswith("value.py:1: service_name has no value; ")
    assert not service_name.endswith("delete the line")


def test_a_name_cannot_differ_in_a_region() -> None:
    (mistake,) = mistakes('hk_service_name = "other"')
    assert mistake.startswith("value.py:3: hk_service_name: ")
    assert "the same in every region" in mistake


def test_a_region_may_not_begin_a_setting() -> None:
    (mistake,) = mistakes("", ("use",))[:1]
    assert mistake.startswith("value.py: region 'use' begins ")
    assert "'use_decode_sidecar'" in mistake


@pytest.mark.parametrize(
    ("lines", "line", "reason"),
    [
        ("cpu = 2\ncpu_limit = 1\n", 4, "cpu_limit is 1 and cpu 2"),
        ('provider = "cuda"\n', 3, "gpu_memory is 0"),
        ("fp16 = True\n", 3, 'provider is "auto"'),
        ("replicas = 4\nmax_replicas = 2\n", 4, "max_replicas is 2 and replicas 4"),
        ("max_replicas = 4\nhk_replicas = 6\n", 4, "max_replicas is 4 and replicas 6"),
        ("use_srv = True\n", 3, "host_port is not set"),
        ('cache = "redis"\n', 3, "env_secret is not set"),
        ("timeout_second = 2\nobjective_latency_ms = 2000\n", 4, "set less than 2000 ms"),
        ("objective_latency_ms = 2000\nhk_timeout_second = 1\n", 4, "set less than 1000 ms"),
        ("objective_success = 99.9\n", 3, "must be a number from 0.5 to 0.99999"),
        ('offline_source = "kafka:videos"\n', 3, "offline_sinks is empty"),
        (f'{READS}offline_sinks = ["kafka:ages", "kafka:videos"]\n', 4, "would be read as a record again"),
        (f'{READS}offline_sinks = ["kafka:ages", "stdout", "kafka:ages"]\n', 4, '"kafka:ages" more than once'),
        ('offline_source = "kafka:a-grey"\noffline_sinks = ["kafka:a"]\n', 4, 'grey writes to "kafka:a-grey"'),
        (f'{READS}offline_sinks = ["postgresql:a", "postgresql:a_ab"]\n', 4, 'ab writes to "postgresql:a_ab"'),
        (
            f'offline_source = "kafka:{"v" * 150}"\noffline_sinks = ["kafka:ages"]\noffline_group = "{"g" * 100}"\n',
            5,
            "has 261 characters, and Kafka allows 249",
        ),
        (f'{READS}offline_sinks = ["kafka:videos-like-demo-dead"]\n', 4, "is the topic of the dead letters"),
        (
            f'{READS}offline_sinks = ["kafka:ages"]\noffline_max_replicas = 2\nhk_offline_replicas = 3\n',
            6,
            "offline_max_replicas is 2 and offline_replicas 3",
        ),
        ('offline_start = "2026-13-45"\n', 3, 'must be "latest", "earliest", or a time'),
        ('offline_sinks = ["kafka:ages"]\noffline_key = ["postid"]\n', 4, "offline_sinks names no table"),
        ('offline_sinks = ["postgresql:ages"]\noffline_key = ["postid", "uid", "postid"]\n', 4, '"postid" more than once'),
        ("offline_retry_second = 40\n", 3, "offline_retry_cap_second is 30"),
        (
            'gpu_memory = 4\nmodel_gpu_memory = {"a": 2, "b": 1.5}\non_demand_gpu_memory = 1\n',
            5,
            "set gpu_memory = 4.5 or more",
        ),
        (
            'model_path = "m.onnx"\ngpu_memory = 4\nhk_gpu_memory = 2.5\nmodel_gpu_memory = {"a": 2}\n',
            6,
            "leaves model_path's model 0.5",
        ),
        ('model_path = "m.onnx"\ngpu_memory = 8\nmodel_gpu_memory = {"demo": 2}\n', 5, "names 'demo'"),
        ("gpu_memory = 8\non_demand_gpu_memory = 0.5\n", 4, "set more than 0.5"),
    ],
)
def test_settings_must_agree_with_one_another(lines: str, line: int, reason: str) -> None:
    (mistake,) = mistakes(lines)
    assert mistake.startswith(f"value.py:{line}: ")
    assert reason in mistake


@pytest.mark.parametrize(("length", "fits"), [(32, True), (33, False)])
def test_a_name_that_offline_pods_add_to_is_shorter(length: int, fits: bool) -> None:
    name = "a" * length
    text = f'service_name = "{name}"\nusername = "like"\noffline_source = "kafka:videos"\noffline_sinks = ["stdout"]\n'
    if fits:
        assert read(text, "value.py", REGIONS).settings.service_name == name
        return
    with pytest.raises(SettingsError) as caught:
        read(text, "value.py", REGIONS)
    (mistake,) = caught.value.mistakes
    assert mistake.startswith("value.py:3: service_name has 33 ")
    assert "with offline_source it may have 32, " in mistake
    assert f" {name}-offline: shorten it" in mistake


@pytest.mark.parametrize(
    "lines",
    [
        'gpu_memory = 4\nmodel_gpu_memory = {"a": 2, "b": 2}\n',
        'gpu_memory = 0.3\nmodel_path = "m.onnx"\n',
        'gpu_memory = 4\nhk_gpu_memory = 0\nmodel_gpu_memory = {"a": 2}\non_demand_gpu_memory = 2\n',
        'gpu_memory = 4\nhk_gpu_memory = 2\nmodel_gpu_memory = {"a": 3}\nhk_model_gpu_memory = {"a": 1.5}\n',
    ],
)
def test_shares_that_fit_are_taken_in_every_region(lines: str) -> None:
    assert reading(lines).warnings == ()


def test_a_rule_that_every_region_breaks_is_told_once() -> None:
    (mistake,) = mistakes("fp16 = True\nhk_replicas = 2\neu_replicas = 2\n")
    assert 'provider is "auto"' in mistake


def test_a_long_value_is_cut_and_a_huge_number_described() -> None:
    assert mistakes(f"cpu = {'x' * 200!r}")[0].startswith("value.py:3: cpu is 'xxxxxxxx")
    assert len(mistakes(f"cpu = {'x' * 200!r}")[0]) < 160
    (mistake,) = mistakes("cpu = 0x" + "f" * 5000)
    assert mistake.startswith("value.py:3: cpu is a number of thousands")
    assert "thousands of digits" in mistakes("cpu = [0x" + "f" * 5000 + "]")[0]


def test_older_names_are_warned_of_with_their_line() -> None:
    (warning,) = reading('cpu = 1\nbmls_ret_type = "json"\n').warnings
    assert warning.startswith("value.py:4: bmls_ret_type: ")
    assert "no longer has any effect" in warning


def test_the_place_of_a_setting_is_its_line() -> None:
    file = reading("cpu = 2\nhk_cpu = 3\n")
    assert file.place("cpu") == "value.py:3"
    assert file.place("cpu", "hk") == "value.py:4"
    assert file.place("cpu", "eu") == "value.py:3"
    assert file.place("memory") == "value.py"


def test_a_file_with_a_byte_order_mark_loads(tmp_path: Path) -> None:
    (tmp_path / "value.py").write_bytes(b"\xef\xbb\xbf" + NAMES.replace("\n", "\r\n").encode())
    assert load(tmp_path / "value.py", None).settings.service_name == "demo"


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read (No such file or directory)"), (b"\xff\xfe", "is not UTF-8 text")]
)
def test_a_file_that_cannot_be_read_is_a_mistake_too(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "value.py").write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load(tmp_path / "value.py", None)
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"value.py: {words} in {tmp_path}; ")


def test_a_folder_in_its_place_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read \(Is a directory\)"):
        load(tmp_path, None)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
).map(repr)
LINES = st.lists(
    st.tuples(
        st.sampled_from(["", "hk_", "xy_", " ", "import "]),
        st.sampled_from([*declared_settings(), "nothing"]),
        st.sampled_from([" = ", " == ", "=", " : int = ", "\n"]),
        VALUES | st.sampled_from(["", "(", "print()", "'''", "{[]: 1}", "1e999", "0x" + "f" * 4000, "\\", "# x"]),
    ).map("".join)
    | st.text(max_size=20),
    max_size=8,
).map("\n".join)


def outcome(text: str, regions: tuple[str, ...] | None) -> tuple[str, ...]:
    try:
        return ("value.py: " + repr(read(text, "value.py", regions).settings),)
    except SettingsError as error:
        return error.mistakes


@given(LINES | st.text(), st.sampled_from([None, REGIONS, (), ("use", "cpu")]))
@example("cpu = 0x" + "f" * 5000, None)
@example("memory = '" + "9" * 400 + "'", None)
def test_any_text_gives_settings_or_mistakes_with_their_lines(text: str, regions: tuple[str, ...] | None) -> None:
    for whole in (text, NAMES + text):
        found = outcome(whole, regions)
        assert found
        assert all(SENTENCE.fullmatch(m) for m in found), found
