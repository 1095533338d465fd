"""The tools that every other folder of conf uses: YAML with lines, quantities, tables, names of images and of objects.

In and out: plain values. Knows no service and asks no cluster.
"""
