"""`monopod optimize`: FP16 and INT8 copies of a service's model, and what they cost in accuracy.

    command    from the command line to an exit status
    words      what was found, as a person reads it and as JSON
    variants   which conversions are tried, and which one is kept
    compare    how far outputs differ, and how long a row takes
    convert    ONNX files to FP16 and INT8
    samples    files as a client sends them, and what the model is given then

Knows one model of one service. Does not know what a difference means to those who read the answers.
"""
