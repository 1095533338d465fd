"""Numbers as Kubernetes and people write them: cores, bytes and money."""

from math import ceil, floor, isclose, isfinite, log10

from serving.settings import size_in_bytes

GIB = 2**30
BINARY = {"Gi": GIB, "Mi": 2**20, "Ki": 2**10}


def cpu_quantity(number: float) -> str:
    """Return cores as Kubernetes writes them: 2 -> "2", 0.1 -> "100m"."""
    milli = max(1, round(number * 1000))
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"


def quantity_value(quantity: str) -> float:
    """Return a Kubernetes quantity, such as 500m or 4Gi, as a number."""
    small = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3}
    if quantity[-1:] in small:
        return float(quantity[:-1]) * small[quantity[-1]]
    try:
        return float(quantity)
    except ValueError:
        return float(size_in_bytes(quantity))


def memory_quantity(quantity: str) -> str:
    """Return a quantity of memory in whole units: "4Gi" stays, "1.5Gi" becomes "1610612736" bytes."""
    return quantity if "." not in quantity else str(size_in_bytes(quantity))


def shares(percents: tuple[float, float]) -> tuple[float, float]:
    """Return two percentages as shares of 1."""
    return percents[0] / 100, percents[1] / 100


def readable_bytes(number: float) -> str:
    """Return bytes as a person reads them: 1610612736 -> "1.5 GiB"."""
    return f"{significant(number / GIB)} GiB" if number >= GIB / 10 else f"{significant(number / 2**20)} MiB"


def binary_quantity(number: int) -> str:
    """Return bytes as Kubernetes writes them, in the largest unit that divides them: 16777216 -> "16Mi", 1500 -> "1500"."""
    fitting = (f"{number // size}{unit}" for unit, size in BINARY.items() if number and number % size == 0)
    return next(fitting, str(number))


def rounded_up(number: float) -> int:
    """Return the next whole number. A number that is whole but for the error of floating point stays the same."""
    return round(number) if isclose(number, round(number), rel_tol=1e-9) else ceil(number)


def money(number: float, currency: str) -> str:
    """Return an amount of money as a person reads it: "USD 1,234", "USD 0.25"."""
    return f"{currency} {number:,.{2 if 0 < number < 10 else 0}f}"


def significant(number: float, digits: int = 3) -> str:
    """Return a number with `digits` significant digits at least, and no exponent: 1234.5 -> "1,234", 0.012 -> "0.012"."""
    if not isfinite(number) or not number:
        return f"{number:g}"
    decimals = max(0, digits - 1 - floor(log10(abs(float(f"{number:.{digits}g}")))))
    text = f"{number:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def counted(number: int, thing: str) -> str:
    """Return a number of things: "1 hour", "2 hours"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """Return a time as a person reads it: 0.0123 -> "12 ms", 2.34 -> "2.3 s", None -> ""."""
    if seconds is None:
        return ""
    return f"{significant(seconds, 2)} s" if seconds >= 1 else f"{significant(seconds * 1000)} ms"


def percent(share: float | None) -> str:
    """Return a share of 1 as a person reads it: 0.123 -> "12 %", None -> ""."""
    return "" if share is None else f"{significant(100 * share)} %" if share < 0.01 else f"{100 * share:.0f} %"
