"""The parts of `monopod deploy` that are about a canary: its choices, `--continue`, and the page of its verdicts."""
