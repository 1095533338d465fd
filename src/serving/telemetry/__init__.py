"""What a pod tells about itself: metrics for Prometheus, and log lines.

In: numbers and messages of every folder above. Out: the metrics page, and JSON lines on stdout.
"""
