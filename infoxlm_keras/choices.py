"""The values that settings choose from, importable without Keras: commands check them before they import Keras."""

POOLINGS = ("cls", "mean", "max")
LOSS_COMBINATIONS = ("sum_of_means", "joint_count")
MOMENTUM_SCHEDULES = ("constant", "constant_with_refresh", "linear", "exponential")
CONVERSION_FORMATS = ("keras", "keras-embedder", "hf", "sentence-transformers")
WEIGHT_DTYPES = ("float32", "bfloat16", "float16")
LAYER_STRATEGIES = ("even", "top", "bottom")
STRATEGIES = ("auto", "one", "mirrored", "multiworker", "tpu", "fsdp", "model_parallel")
EXPORT_PRECISIONS = ("float32", "int8")
VECTOR_TYPES = ("float32", "int8", "binary")
