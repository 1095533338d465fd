"""A service's folder and a regions.yaml for the commands that show figures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REGION: dict[str, Any] = {
    "host": "*",
    "routing": "gateway-api",
    "gateway": {"namespace": "gateway", "name": "gateway", "pods": "envoy-gateway-system"},
    "sidecars": False,
    "mesh": {},
    "reserved": {"cpu": 0, "memory": "0"},
    "nodes": [{"name": "any", "cpu": 32, "memory": "64Gi", "price": 320}],
}


def write_regions(folder: Path, outside: Mapping[str, str]) -> Path:
    """Write a regions.yaml of regions that no kubeconfig knows. outside: region -> the address of its Prometheus."""
    regions = {
        name: {
            **REGION,
            "context": f"no-context-of-{name}",
            "prometheus": {
                "namespace": "monitoring",
                "url": "http://prometheus.monitoring:9090",
                "labels": {},
                **({"outside": url} if url else {}),
            },
        }
        for name, url in outside.items()
    }
    first = next(iter(regions))
    file = folder / "regions.yaml"
    file.write_text(json.dumps({"currency": "USD", "registry": "r.lan", "grey": first, "ab": first, "regions": regions}))
    return file  # JSON is YAML


def write_value(folder: Path, **settings: Any) -> Path:
    """Write a service's value.py, and return its folder."""
    lines = {"service_name": "small", "username": "like", "cpu": 1, "memory": "2Gi", **settings}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "value.py").write_text("".join(f"{name} = {value!r}\n" for name, value in lines.items()))
    return folder
