"""Backfills: records of files, queries and dead letters through the model, and a checkpoint of those that are done."""
