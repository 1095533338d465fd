# A pod of the four: a model that takes 8 ms a batch and 1 ms a row, on a stand-in for a card.

service_name = "card"
username = "bench"

cpu = 1  # cores a pod asks for
memory = "1Gi"
replicas = 4

max_batch_size = 32  # rows
queue_limit = 256  # rows
