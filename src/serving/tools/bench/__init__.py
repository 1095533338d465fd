"""`monopod bench`: measure a running service under load."""
