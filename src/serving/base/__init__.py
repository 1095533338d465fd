"""Errors, deadlines, JSON, memory and thread priorities, for every other folder of the runtime."""
