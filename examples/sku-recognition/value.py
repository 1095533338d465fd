# A picture in; the product of a catalogue that it shows out. One setting a line, each a literal; `monopod settings` lists all.
service_name = "sku-recognition"
username = "like"

cpu = 2  # cores a pod asks for; the model's threads follow from it
memory = "1Gi"  # a pod; over it the pod is killed. Small pictures need 200 MB, the largest 800
gpu_memory = 0  # GiB of one GPU; 0 = no GPU
ins_num_per_gpu = 2  # sessions of the model, one core each: two pictures at once

replicas = 2  # two, so that the service still answers when a node is lost
hk_replicas = 3
ab_replicas = 1

init_delay_second = 30  # time the model may take to load
model_path = "model/efficientnet-lite0.onnx"
max_body = "8Mi"  # a picture as a phone makes it
queue_limit = 32  # pictures that may wait; with the largest bodies they are 256 MB
max_rows_per_request = 32
max_image_pixels = 12_500_000  # a transparent PNG of this size takes 300 MB to decode, and two are decoded at once
max_batch_size = 1  # a convolutional net gains nothing from batches on cores; on a GPU it does

# index: the file that `make index` writes, a path in this folder or an absolute one such as /data/products.index with
# data_claim.
# threshold: a lower score is an unknown product. nprobe: lists that are searched in a large index.
options = {"index": "model/products.index", "threshold": 0.6, "nprobe": 16}
