"""Rules about offline pods: what they read and write, and what other services of the same clusters read.

In: a service's plan in a region, and other services. Out: violations.
"""
