"""Every setting's default, pinned by hand. Files that services have used for years still load."""

import ast
from typing import Any

import pytest

from serving.settings import Settings, SettingsError, declared_settings, latency_objective, read

# Written by hand: a changed default changes every service that does not set it.
DEFAULTS: dict[str, Any] = {
    "service_name": None,
    "username": None,
    "cpu": 1.0,
    "cpu_limit": 0.0,
    "memory": "2Gi",
    "recycle_at_memory": 0.9,
    "memory_request": "0",
    "shared_memory": "0",
    "decode_workers": 2,
    "decode_memory": "768Mi",
    "gpu_memory": 0.0,
    "model_gpu_memory": {},
    "on_demand_gpu_memory": 0.0,
    "ins_num_per_gpu": 1,
    "replicas": 1,
    "ab_replicas": 1,
    "grey_sleep_after_day": 0,
    "max_replicas": 0,
    "autoscale_by": "cpu",
    "autoscale_queue_rows": 0,
    "scale_down_after_second": 600,
    "scale_hours": (),
    "canary": (),
    "canary_step_second": 600,
    "canary_undecided": "hold",
    "canary_confidence": 0.99,
    "canary_tolerance": 1.25,
    "canary_margin": 0.005,
    "canary_latency_margins": (0.1, 0.03, 0.015),
    "canary_metrics": {},
    "node_labels": {},
    "tolerations": (),
    "use_srv": False,
    "host_port": 0,
    "model_path": "",
    "provider": "auto",
    "fp16": False,
    "max_batch_size": 8,
    "max_queue_delay_ms": 0.0,
    "warmup_shapes": {},
    "model_memory": "64Ti",
    "init_delay_second": 30,
    "stuck_after_second": 60,
    "timeout_second": 30.0,
    "upload_timeout_second": 10.0,
    "queue_limit": 64,
    "max_rows_per_request": 64,
    "max_body": "16Mi",
    "max_image_pixels": 50_000_000,
    "fetch_hosts": (),
    "fetch_timeout_second": 5.0,
    "drain_delay_second": 5.0,
    "cache": "none",
    "cache_second": 86_400,
    "cache_memory": "64Mi",
    "objective_success": 0.999,
    "objective_latency_ms": 0.0,
    "objective_latency_share": 0.99,
    "latency_levels": (2.0, 5.0),
    "memory_levels": (70.0, 85.0),
    "cpu_levels": (80.0, 95.0),
    "options": {},
    "threads": 1,
    "env_secret": "",
    "data_claim": "",
    "gpu_num": 0,
    "bmls_ret_type": "",
    "use_decode_sidecar": False,
    "offline_source": "",
    "offline_sinks": (),
    "offline_group": "",
    "offline_start": "latest",
    "offline_protocol": "consumer",
    "offline_replicas": 1,
    "offline_max_replicas": 0,
    "offline_partitions": 0,
    "offline_lag_per_replica": 1000,
    "offline_secret": "",
    "offline_window": 500,
    "offline_rate": 0.0,
    "offline_timeout_second": 60.0,
    "offline_revoke_second": 20.0,
    "offline_max_record": "1Mi",
    "offline_key": (),
    "offline_retries": 5,
    "offline_retry_second": 0.5,
    "offline_retry_factor": 2.0,
    "offline_retry_cap_second": 30.0,
    "offline_retry_jitter": 0.5,
}

LONG_STANDING = """
service_name = "demo"
username = "like"
cpu = 2
memory = "4Gi"
replicas = 1
ab_replicas = 1.
gpu_num = 0
ins_num_per_gpu = 1
model_path = "model/model.onnx"
bmls_ret_type = "json"
use_decode_sidecar = False
use_srv = 0
host_port = 0
"""

NEWER = """
service_name = "demo"
username = "like"
cpu = 2                 # cores a pod asks for; the model's threads follow from it
memory = "4Gi"          # a pod; over it the pod is killed
gpu_memory = 0          # GiB of one GPU; 0 = no GPU
replicas = 1            # where a region says nothing else
hk_replicas = 2
eu_replicas = 1
na_replicas = 1
ab_replicas = 1
init_delay_second = 30  # time the model may take to load
model_path = "model/efficientnet-lite0.onnx"
"""


def test_every_default_is_as_written_here() -> None:
    assert {name: a.default for name, a in declared_settings().items()} == DEFAULTS


def test_every_default_has_the_type_written_here() -> None:
    assert {name: type(a.default) for name, a in declared_settings().items()} == {
        name: type(value) for name, value in DEFAULTS.items()
    }


def test_a_file_of_two_names_holds_the_defaults() -> None:
    settings = read('service_name = "demo"\nusername = "like"\n', "value.py", None).settings
    assert vars(settings) == {**DEFAULTS, "service_name": "demo", "username": "like"}


@pytest.mark.parametrize("name", [name for name, default in DEFAULTS.items() if default is not None])
def test_every_default_is_a_value_that_may_be_written(name: str) -> None:
    setting = declared_settings()[name]
    assert setting.form.convert(ast.literal_eval(repr(setting.default))) == setting.default


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_setting_says_what_it_is(name: str) -> None:
    setting = declared_settings()[name]
    assert setting.meaning.endswith(".")
    assert setting.form.allowed
    assert setting.group
    setting.form.convert(ast.literal_eval(setting.form.example))


def test_settings_do_not_share_their_tables() -> None:
    one, other = Settings(service_name="a", username="a"), Settings(service_name="b", username="b")
    one.node_labels["pool"] = "gpu"
    assert other.node_labels == {}


def test_the_long_standing_file_loads_as_it_stands() -> None:
    file = read(LONG_STANDING, "value.py", ("hk", "eu", "na"))
    settings = file.settings
    assert (settings.cpu, settings.memory, settings.replicas) == (2.0, "4Gi", 1)
    assert (settings.ab_replicas, type(settings.ab_replicas)) == (1, int)
    assert (settings.use_srv, settings.host_port, settings.model_path) == (False, 0, "model/model.onnx")
    assert [w.split(":")[1] for w in file.warnings] == ["8", "11", "12"]
    assert all(word in " ".join(file.warnings) for word in ("gpu_num", "bmls_ret_type", "use_decode_sidecar"))


def test_a_gpu_of_the_long_standing_file_still_counts() -> None:
    assert read(LONG_STANDING.replace("gpu_num = 0", "gpu_num = 1"), "value.py", None).settings.gpu_num == 1


def test_its_blank_value_is_its_only_mistake() -> None:
    with pytest.raises(SettingsError) as caught:
        read(LONG_STANDING.replace("use_decode_sidecar = False", "use_decode_sidecar ="), "value.py", ("hk",))
    (mistake,) = caught.value.mistakes
    assert mistake.startswith("value.py:12: use_decode_sidecar has no value")


def test_the_newer_file_loads_with_its_regions() -> None:
    file = read(NEWER, "value.py", ("hk", "eu", "na"))
    assert file.warnings == ()
    assert [file.in_region(region).replicas for region in ("hk", "eu", "na")] == [2, 1, 1]
    assert file.settings.init_delay_second == 30
    assert file.settings.gpu_memory == 0.0


@pytest.mark.parametrize(
    ("objective", "timeout", "seconds"), [(0.0, 30.0, 15.0), (0.0, 0.05, 0.025), (250.0, 30.0, 0.25), (333.0, 1.0, 0.333)]
)
def test_a_good_answer_takes_as_long_as_the_setting_says_and_else_half_of_the_timeout(
    objective: float, timeout: float, seconds: float
) -> None:
    settings = Settings(service_name="a", username="b", objective_latency_ms=objective, timeout_second=timeout)
    assert latency_objective(settings) == seconds
