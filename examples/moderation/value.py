# The service as data. This file is read, never run: one setting a line, each a literal.
# `monopod settings` lists them all; hk_, eu_ or na_ before a name sets it for that region alone.

service_name = "moderation"
username = "like"

cpu = 2  # cores a pod asks for; the model's threads follow from it
# A pod uses 0.15 GiB at rest, and 0.4 with two videos and pictures. At worst it needs 0.9 for two pictures of max_image_pixels
# (one a core), decode_memory for two videos, and 0.3 for the videos themselves.
memory = "4Gi"
gpu_memory = 0  # GiB of one GPU; 0 = no GPU
ins_num_per_gpu = 2  # sessions of the model, one core each

replicas = 1  # where a region says nothing else
hk_replicas = 2

init_delay_second = 30  # time the model may take to load
model_path = "model/open-nsfw.onnx"
# A convolutional net gains little from batches on cores, and a picture waits behind a batch of frames.
max_batch_size = 4
max_rows_per_request = 4  # frames of a video in one call of the model; a video has two such calls in the queue
queue_limit = 24  # rows: 16 for two videos, the rest for pictures

timeout_second = 120  # a video may take long
stuck_after_second = 120
upload_timeout_second = 60
max_body = "64Mi"  # a minute of 1080p, ten of 360p
max_image_pixels = 25_000_000

options = {
    "frame_from": 0.8,  # a picture, or a frame of a video, with at least this score is nsfw
    "video_share": 0.1,  # a video is nsfw when at least this share of its frames is
    "sure_from": 0.95,  # or when one frame has at least this score
    "max_seconds": 600,  # of a video
}
