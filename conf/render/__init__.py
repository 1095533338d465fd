"""Generated text and values: objects of a plan and of a canary, the pipeline's jobs, and the values of charts."""
