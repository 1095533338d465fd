"""Hypothesis strategies for value.py and regions.yaml, most of them sensible.

A file is drawn as text, as people write it. A few of its lines are nonsense now and then.
"""

import json
from typing import Any

from hypothesis import strategies as st

from serving.settings import declared_settings

NAMES = ("hk", "eu", "na", "sg", "us1")
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 10**20),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.text(max_size=5), max_size=2),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "cpu": st.sampled_from([0.1, 0.25, 1, 2.5, 8, 300]),
    "cpu_limit": st.sampled_from([0, 1, 8, 12.5]),
    "memory": st.sampled_from(["512Mi", "2Gi", "1.5Gi", "5G", "600M", "2000Gi"]),
    "gpu_memory": st.sampled_from([0, 0.5, 4, 7.3, 24, 80]),
    "model_gpu_memory": st.sampled_from([{}, {"detector": 2}, {"a": 0.75, "b": 3}]),
    "on_demand_gpu_memory": st.sampled_from([0, 0.75, 1.5]),
    "gpu_num": st.sampled_from([0, 1]),
    "ins_num_per_gpu": st.integers(1, 4),
    "replicas": st.integers(0, 5),
    "ab_replicas": st.sampled_from([1, 2, 1.0]),
    "grey_sleep_after_day": st.integers(0, 365),
    "max_replicas": st.sampled_from([0, 3, 12, 1000]),
    "autoscale_by": st.sampled_from(["cpu", "queue"]),
    "autoscale_queue_rows": st.integers(0, 100),
    "scale_down_after_second": st.integers(0, 3600),
    "scale_hours": st.sampled_from([[], ["mon-fri 09:00-18:00 1000"], ["mon-sun 22:00-24:00 12", "mon-sun 00:00-06:00 12"]]),
    "canary": st.sampled_from([[], [5, 25, 50], [50], [25, 5], [60]]),
    "node_labels": st.sampled_from([{}, {"pool": "gpu"}, {"example.com/zone": "a"}]),
    "tolerations": st.lists(st.sampled_from(["dedicated=ml:NoSchedule", "nvidia.com/gpu", "a:NoExecute", "b=c"]), max_size=3),
    "use_srv": st.booleans(),
    "host_port": st.sampled_from([0, 20000, 20080, 30000]),
    "model_path": st.sampled_from(["", "model/same.onnx", "model/other.onnx", "../x"]),
    "provider": st.sampled_from(["auto", "cpu", "cuda", "tensorrt"]),
    "init_delay_second": st.integers(1, 7200),
    "timeout_second": st.sampled_from([0.05, 1, 30, 45.5, 3600]),
    "drain_delay_second": st.sampled_from([0, 0.3, 5, 600]),
    "objective_latency_ms": st.sampled_from([0, 40, 15000]),
    "objective_success": st.sampled_from([0.5, 0.999, 0.99999, 1]),
    "memory_levels": st.sampled_from([[70, 85], [85, 70], [50, 101]]),
    "queue_limit": st.sampled_from([1, 64, 65536]),
    "max_batch_size": st.sampled_from([0, 1, 32, 4096]),
    "max_body": st.sampled_from(["1Ki", "1Mi", "16Mi", "4Gi"]),
}
OTHERS = sorted(set(declared_settings()) - set(LIKELY) - {"service_name", "username"})


@st.composite
def values(draw: st.DrawFn) -> str:
    """Draw the text of a value.py."""
    lines = {
        "service_name": draw(st.sampled_from(["demo", "a", "x" * 40, "y-1"])),
        "username": draw(st.sampled_from(["like", "z9"])),
    }
    for name in draw(st.lists(st.sampled_from(sorted(LIKELY)), max_size=8, unique=True)):
        prefix = draw(st.sampled_from(["", "", "", "hk_", "eu_"]))
        lines[prefix + name] = draw(LIKELY[name])
    if draw(st.integers(0, 9)) == 0:
        lines[draw(st.sampled_from([*OTHERS, *LIKELY, "username", "hk_replica", "é"]))] = draw(JUNK)
    text = "".join(f"{name} = {value!r}\n" for name, value in lines.items())
    return text + draw(st.sampled_from([""] * 9 + ["cpu = \n", "import os\n", "x = (\n", "\x00", "cpu = 1; cpu = 2\n"]))


def region(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Draw one region as data, with GPUs or without."""
    found: dict[str, Any] = {
        "context": name,
        "host": draw(st.sampled_from(["*", "a.example.com", "b.example.com"])),
        "routing": draw(st.sampled_from(["istio", "gateway-api"])),
        "gateway": {"namespace": "gateway", "name": "gateway", "pods": "envoy"},
        "sidecars": draw(st.booleans()),
        "mesh": {"istio-injection": "enabled"},
        "prometheus": {
            "namespace": "monitoring",
            "url": "http://p:9090",
            "labels": draw(st.sampled_from([{}, {"release": "x"}])),
        },
        "reserved": {"cpu": 0.5, "memory": "1Gi"},
        "nodes": [{"name": "cpu", "cpu": 64, "memory": "256Gi", "price": 100, "labels": {"pool": "gpu"}}],
    }
    if draw(st.booleans()):
        units = [("aliyun.com/gpu-mem", "GiB"), ("nvidia.com/gpumem", "MiB"), ("nvidia.com/gpu", "card")]
        resource, unit = draw(st.sampled_from(units))
        found["gpu"] = {"resource": resource, "unit": unit}
        found["nodes"].append({"name": "gpu", "cpu": 32, "memory": "128Gi", "price": 900, "cards": 2, "card_memory": 24})
    if draw(st.booleans()):
        found["srv"] = {"first_port": 20000, "last_port": 20999, "cidrs": ["10.0.0.0/8"]}
    if draw(st.booleans()):
        found["quota"] = {"pods": draw(st.sampled_from([0, 10, 2000])), "cpu": draw(st.sampled_from([0, 20, 1e5]))}
    return found


@st.composite
def regions(draw: st.DrawFn) -> str:
    """Draw the text of a regions.yaml, written as JSON, which is YAML."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    found: dict[str, Any] = {"currency": "USD", "registry": "registry.example.com", "grey": names[0], "ab": names[-1]}
    found["regions"] = {name: region(draw, name) for name in names}
    if draw(st.integers(0, 4)) == 0:
        part = draw(st.sampled_from([found, *found["regions"].values(), *(r["gateway"] for r in found["regions"].values())]))
        part[draw(st.sampled_from([*sorted(part), "surprise"]))] = draw(JUNK)
    text = json.dumps(found)
    return text + draw(st.sampled_from([""] * 19 + ["}", "\n---\n", "\t", "&a", "\x00"]))
