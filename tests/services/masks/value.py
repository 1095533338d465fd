# A model for each material, loaded on first use and unloaded, least recently used first, over model_memory.
service_name = "masks"
username = "like"
cpu = 1
max_batch_size = 1
model_memory = "5Mi"  # of files: one of the two
hk_model_memory = "4Gi"  # both
drain_delay_second = 0
