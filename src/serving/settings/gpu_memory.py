"""The division of gpu_memory among a service's models, in GiB."""

from serving.settings.declarations import Settings

ON_DEMAND = "models loaded on first use"


def shares(s: Settings) -> dict[str, float]:
    """Return the shares of gpu_memory in GiB by their names, without the one of model_path's model."""
    return {**s.model_gpu_memory, **({ON_DEMAND: s.on_demand_gpu_memory} if s.on_demand_gpu_memory else {})}


def remaining(s: Settings) -> float:
    """Return the GiB that the other shares leave to model_path's model."""
    return round(s.gpu_memory - sum(shares(s).values()), 9)  # 0.3 - 0.1 - 0.2 is 0


def describe(s: Settings) -> str:
    """Return the division in words: "8 GiB: detector 2, models loaded on first use 1, demo the rest, 5"."""
    named = [f"{name} {gib:g}" for name, gib in shares(s).items()]
    rest = f"{s.service_name} {'the rest, ' if named else ''}{remaining(s):g}" if s.model_path else f"{remaining(s):g} unused"
    return f"{s.gpu_memory:g} GiB: {', '.join([*named, rest])}"
