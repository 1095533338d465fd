# Questions in, the nearest sentences out. It has an index in memory and no ONNX model.
service_name = "search"
username = "like"
cpu = 1
max_batch_size = 16
drain_delay_second = 0
