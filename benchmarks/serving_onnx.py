"""The contenders of benchmarks/serving.py that run ONNX files: ours and torch's, in ONNX Runtime and OpenVINO."""

import importlib.util
import warnings

import numpy as np

OPSET = 20


def onnx_contenders(model, layer, tokenizer, torch_model, threads, scratch):
    """Name -> function of a list of str to unit vectors, for the packages that are installed.

    Args:
        model: `PretrainedModel`.
        layer: int.
        tokenizer, torch_model: those of transformers with the same weights.
        threads: int.
        scratch: path of a folder.
    """
    if not (importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxruntime")):
        return {}
    from infoxlm_keras.exporting.to_onnx import export_onnx, onnx_embedder

    tokenize = tokenizer_of(tokenizer)
    paths = {}
    for name, precision in (("ONNX", "float32"), ("ONNX int8", "int8")):
        folder = scratch / f"onnx_{precision}"
        paths[name] = (
            export_onnx(model, folder, layer, "mean", True, precision=precision).directory / "onnx/model.onnx"
        )
    if importlib.util.find_spec("onnxscript"):
        paths["torch's ONNX"] = torch_export(torch_model, scratch / "torch.onnx")
        paths["torch's ONNX int8"] = quantized(paths["torch's ONNX"], scratch / "torch_int8.onnx")
    encoders = {name: onnx_embedder(path, threads) for name, path in paths.items()}
    if importlib.util.find_spec("openvino"):
        for name in [name for name in paths if "int8" not in name]:
            encoders[f"{name} in OpenVINO"] = openvino_embedder(paths[name], threads)
    return {name: lambda texts, embed=embed: embed(*tokenize(texts)) for name, embed in encoders.items()}


def tokenizer_of(tokenizer):
    """Function of texts to (ids, mask), int64 [batch, length], by the tokenizers library, padded to the longest."""
    fast = tokenizer.backend_tokenizer
    fast.enable_padding(pad_id=1, pad_token="<pad>")
    fast.enable_truncation(tokenizer.model_max_length)

    def tokenize(texts):
        rows = fast.encode_batch(texts)
        return np.array([row.ids for row in rows]), np.array([row.attention_mask for row in rows])

    return tokenize


def torch_export(model, path):
    """Writes `XLMRobertaModel`, mean pooling and unit length by torch's exporter; the path."""
    import torch

    class Embedder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = model

        def forward(self, input_ids, attention_mask):
            states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask.unsqueeze(-1).to(states.dtype)
            return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)

    ids = torch.randint(4, 100, (3, 17))
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=512)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Embedder().eval(),
            (ids, mask),
            path,
            input_names=["input_ids", "attention_mask"],
            output_names=["sentence_embedding"],
            dynamic_shapes={"input_ids": sizes, "attention_mask": sizes},
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            verbose=False,
        )
    return path


def quantized(source, target):
    """Writes `source` with the weights of its products in int8, as `export-onnx` does; the path."""
    from infoxlm_keras.exporting.to_onnx import quantize

    quantize(source, target)
    return target


def openvino_embedder(path, threads):
    """Function of (ids, mask) to vectors, in OpenVINO with float32 arithmetic."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    output = compiled.output("sentence_embedding")
    return lambda ids, mask: compiled({"input_ids": ids, "attention_mask": mask})[output]
