"""What every other folder of the deploy half needs: YAML with lines, numbers, tables, names of images and objects.

In and out: plain values. Knows no service, asks no cluster.
"""
