"""Writes the formats of Hugging Face, sentence-transformers and KerasHub, and the sentence encoder as ONNX and LiteRT.

Reading order of the latter: `encoder_export` and `vector_check` (what both share) -> `onnx_nodes`, `onnx_encoder` (the
graph) -> `to_onnx`, `to_litert`.
"""
