"""A simulated week of load on one service: what its pods cost and which rows are lost, for each way to choose their number."""
