# A model that sleeps for as many seconds as its input says. At -1 it raises, and at -2 it returns wrong rows.
service_name = "slow"
username = "like"
cpu = 1
ins_num_per_gpu = 2
max_batch_size = 1
queue_limit = 4
timeout_second = 5
upload_timeout_second = 1
max_body = "64Ki"
drain_delay_second = 0.5
stuck_after_second = 2
