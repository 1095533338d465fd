"""The lines that pods wrote. In comes a service's track in a region; out go its lines, in order of time."""
