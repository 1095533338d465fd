# Models of every datatype, for what speaks tensors: several inputs, strings, halves.
service_name = "tensors"
username = "like"
cpu = 1
max_batch_size = 4
max_body = "256Ki"
drain_delay_second = 0
