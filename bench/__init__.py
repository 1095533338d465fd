"""The benchmark: what the platform costs, measured on the machine at hand."""
