# A picture of 17 KB in, the outputs of a seven-layer net out.

service_name = "jpeg"
username = "bench"

cpu = 2  # cores a pod asks for
memory = "1Gi"
ins_num_per_gpu = 2  # sessions of the model, each on one core

model_path = "model/jpeg.onnx"
max_batch_size = 1  # a convolutional net gains nothing from batches on cores
