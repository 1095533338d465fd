"""The plan: every name, path, number and label that a service's objects hold in one region. Asks no cluster."""
