"""The runtime: what a pod runs. Bytes come in, batches go to the model, bytes go out.

    settings    value.py, read with its lines; standard library only, since deploy jobs read it too
    base        errors, deadlines, JSON and memory: what every folder above needs
    telemetry   metrics and logs
    models      a model in memory, its queue, and the registry of a service's models
    inputs      a request's bytes to arrays, and a model's outputs back to bytes
    video       frames of videos, decoded by confined processes
    service     the class that a service writes, and the loading of its own code
    core        decode -> preprocess -> model -> postprocess -> encode
    web         HTTP: connections, admission, routes, drain, the admin port
    tools       commands beside the server: verify, bench, optimize
    main        the start;   api  all that a server.py imports;   testing  what its tests import besides

A folder uses only the folders above it in this list.
"""

from serving.base.moved_names import find_moved_modules

find_moved_modules()
