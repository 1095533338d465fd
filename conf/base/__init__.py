"""The tools that every other folder of conf uses: YAML with lines, quantities, tables, names of images and of objects."""
