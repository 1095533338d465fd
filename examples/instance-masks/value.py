# The service as data. This file is read, never run: one setting a line, each a literal.
# `monopod settings` lists them all; hk_, eu_ or na_ before a name sets it for that region alone.

service_name = "instance-masks"
username = "like"

cpu = 2  # cores a pod asks for; each model runs on both
# A pod takes 1.1 GB with pictures, and 2 GB with the largest tensors that max_body allows. Over this limit it is killed.
memory = "3Gi"
gpu_memory = 0  # GiB of one GPU; 0 = no GPU

replicas = 1  # where a region says nothing else
hk_replicas = 2
ab_replicas = 1

init_delay_second = 30  # models are loaded on first use, so a start is short
max_batch_size = 1  # convolutional nets gain nothing from batches on cores; on a GPU they do
model_memory = "512Mi"  # of models in memory together; over it the least recently used is unloaded

queue_limit = 12  # a picture takes up to two seconds of both cores, so requests in a longer queue would only time out
max_body = "4Mi"  # pictures are shrunk to 2048 pixels at most; U-Net takes a gigabyte for a tensor of this size
max_image_pixels = 24_000_000  # a phone's picture; src/materials.py shrinks it for the models
options = {"default_material": "objects"}  # the material where a request names none
