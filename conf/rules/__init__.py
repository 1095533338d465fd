"""The rules that `monopod check` judges a service by, and the check that asks them all. Asks no cluster."""
