"""Simulates canaries, and counts how often and how soon several judges call them worse. `make bench-canary` runs it."""
