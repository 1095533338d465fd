"""The jobs of each region in GitLab's pipeline: ci/regions.yml, which `make pipeline` writes from conf/regions.yaml.

.gitlab-ci.yml includes that file, whose jobs extend hidden jobs of .gitlab-ci.yml. GitLab does not merge lists of two files, so
all stages stand in ci/regions.yml. An anchor of YAML does not reach another file, so the jobs are written out.
Sources: https://docs.gitlab.com/ci/yaml/includes/, https://docs.gitlab.com/ci/yaml/yaml_optimization/.
"""

import sys
from pathlib import Path

from conf.clusters.regions import Regions, load
from serving.settings.reader import ConfigError

ROOT = Path(__file__).parents[2]
FILE = ROOT / "ci" / "regions.yml"
STAGES = ("lint", "test", "build", "grey", "stop_grey", "ab_test", "stop_ab")
HEAD = """\
# The jobs of the regions in conf/regions.yaml, made by `make pipeline`: change regions.yaml, and run that. A test compares.
# .gitlab-ci.yml includes this file and has the scripts: .deploy, .canary, .continue, .rollback, .restart and .stop-prod.
"""
JOBS = """
.region-{name}:
  stage: deploy-{name}
  variables: {{TRACK: prod, REGION: "{name}"}}
  environment: {{name: {name}/$CI_COMMIT_REF_SLUG, deployment_tier: production}}
  resource_group: {name}/$CI_COMMIT_REF_SLUG

deploy-{name}:
  extends: [.deploy, .region-{name}]
  environment: {{on_stop: stop-{name}}}

canary-{name}:
  extends: [.canary, .region-{name}]
  environment: {{on_stop: stop-{name}}}

continue-{name}:
  extends: [.continue, .region-{name}]
  environment: {{action: prepare}}

rollback-{name}:
  extends: [.rollback, .region-{name}]
  environment: {{action: prepare}}

restart-{name}:
  extends: [.restart, .region-{name}]
  environment: {{action: prepare}}

stop-{name}:
  extends: [.stop-prod, .region-{name}]
  environment: {{action: stop}}
"""


def pipeline(regions: Regions) -> str:
    """Return the text of ci/regions.yml: all stages in the order of a release, and six jobs for each region."""
    stages = ", ".join((*STAGES, *(f"deploy-{name}" for name in regions.regions)))
    return f"{HEAD}\nstages: [{stages}]\n" + "".join(JOBS.format(name=name) for name in regions.regions)


def main() -> int:
    """Write ci/regions.yml. Return the exit status: 1 where regions.yaml has mistakes, which are printed."""
    try:
        text = pipeline(load(ROOT / "conf" / "regions.yaml"))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
