"""Writes each dashboard to charts/monitoring/dashboards, one file a dashboard: `make dashboards`."""

from pathlib import Path

from dashboards.fleet import FLEET
from dashboards.gateway import GATEWAY
from dashboards.grafana import text
from dashboards.offline import OFFLINE
from dashboards.release import RELEASE
from dashboards.service import SERVICE

FOLDER = Path(__file__).resolve().parent.parent / "charts" / "monitoring" / "dashboards"
FILES = {"fleet": FLEET, "service": SERVICE, "release": RELEASE, "gateway": GATEWAY, "offline": OFFLINE}


def texts() -> dict[str, str]:
    """Return the text of each file by its name."""
    return {f"{name}.json": text(dashboard) for name, dashboard in FILES.items()}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, written in texts().items():
        (FOLDER / name).write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
