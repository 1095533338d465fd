# Photo in, one vector a face out: three small models find the faces, the fourth tells them apart.
service_name = "faces"
username = "like"
cpu = 1
model_path = "model/dlibface-fp16.onnx"
max_queue_delay_ms = 60
max_image_pixels = 20_000_000
drain_delay_second = 0
