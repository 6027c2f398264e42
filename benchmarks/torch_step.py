"""The same training step in plain PyTorch, as fast as we know to write it: what `compare.py` measures against.

    python benchmarks/torch_step.py --size base --shape 4,256,8,128,16,64 --dtype bfloat16

Sizes and shapes are those of `train_step.py`. Three backward passes add to one AdamW update. Logits are computed at
the masked positions only, over a vocabulary filled up to a multiple of 8. Query and key encoder stop at the universal
layer. Attention is `scaled_dot_product_attention`, AdamW and the key encoder's average are PyTorch's fused and grouped
kernels, and half precision is by autocast. With --compile, `torch.compile` compiles the encoders. One line of JSON,
with the fields of `train_step.py`.
"""

import argparse
import copy
import itertools
import json
import resource
import statistics
import time

import torch
import torch.nn.functional as functional

# Layers, width, heads, width of the feed-forward part, vocabulary, universal layer, queue: as in `train_step.py`.
SIZES = {
    "tiny": (2, 128, 2, 512, 16000, 2, 4096),
    "small": (6, 256, 4, 1024, 32000, 4, 16384),
    "base": (12, 768, 12, 3072, 250002, 8, 131072),
    "large": (24, 1024, 16, 4096, 250002, 16, 131072),
}
TEMPERATURE, MOMENTUM, CLIP_NORM = 0.25, 0.9999, 1.0


class Layer(torch.nn.Module):
    """A Transformer layer with the layer norm after each of its two parts, as in XLM-R."""

    def __init__(self, width, heads, inner):
        super().__init__()
        self.heads = heads
        self.inputs = torch.nn.Linear(width, 3 * width)
        self.outputs = torch.nn.Linear(width, width)
        self.attention_norm = torch.nn.LayerNorm(width, eps=1e-5)
        self.widen = torch.nn.Linear(width, inner)
        self.narrow = torch.nn.Linear(inner, width)
        self.norm = torch.nn.LayerNorm(width, eps=1e-5)

    def forward(self, states):
        samples, length, width = states.shape
        parts = self.inputs(states).view(samples, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(*parts.unbind(0))
        attended = attended.transpose(1, 2).reshape(samples, length, width)
        states = self.attention_norm(states + self.outputs(attended))
        return self.norm(states + self.narrow(functional.gelu(self.widen(states))))


class Encoder(torch.nn.Module):
    """Token and position embeddings, their layer norm, and `layers` layers."""

    def __init__(self, layers, width, heads, inner, vocabulary):
        super().__init__()
        self.tokens = torch.nn.Embedding(vocabulary, width)
        self.positions = torch.nn.Embedding(514, width)
        self.norm = torch.nn.LayerNorm(width, eps=1e-5)
        self.layers = torch.nn.ModuleList(Layer(width, heads, inner) for _ in range(layers))

    def forward(self, ids, layers=None):
        positions = torch.arange(2, 2 + ids.shape[1], device=ids.device)
        states = self.norm(self.tokens(ids) + self.positions(positions))
        for layer in self.layers[:layers]:
            states = layer(states)
        return states


class Head(torch.nn.Module):
    """The masked-LM head without its last product, whose matrix is the token embedding."""

    def __init__(self, width, vocabulary):
        super().__init__()
        self.dense = torch.nn.Linear(width, width)
        self.norm = torch.nn.LayerNorm(width, eps=1e-5)
        self.bias = torch.nn.Parameter(torch.zeros(vocabulary))

    def forward(self, states, embeddings):
        return functional.linear(self.norm(functional.gelu(self.dense(states))), embeddings, self.bias)


class Step:
    """The model, its optimizer, key encoder and queue; `run` does one update."""

    def __init__(self, options, device):
        layers, width, heads, inner, self.vocabulary, self.universal, queue = SIZES[options.size]
        self.device = device
        self.shape = [int(number) for number in options.shape.split(",")]
        # Rows of logits that begin at multiples of 16 bytes: cuBLAS' fast kernels take no others.
        rows = -(-self.vocabulary // 8) * 8
        self.encoder = Encoder(layers, width, heads, inner, rows).to(device)
        self.head = Head(width, rows).to(device)
        self.projection = torch.nn.Parameter(torch.randn(width, width, device=device) * 0.02)
        self.key_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.key_encoder.layers = self.key_encoder.layers[: self.universal]
        self.key_projection = self.projection.detach().clone()
        self.queue, self.pointer = torch.randn(queue, width, device=device), 0
        self.parameters = [*self.encoder.parameters(), *self.head.parameters(), self.projection]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=1e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01, fused=True
        )
        followed = dict(self.encoder.named_parameters())
        self.keys = [*self.key_encoder.parameters(), self.key_projection]
        self.followed = [*(followed[name] for name, _ in self.key_encoder.named_parameters()), self.projection]
        self.half = torch.autocast(device.type, torch.bfloat16, enabled=options.dtype == "bfloat16")
        if options.compile:
            self.encoder.compile(dynamic=False)
            self.key_encoder.compile(dynamic=False)

    def run(self):
        """One update on random tokens; returns once the device is done."""
        samples, length, pairs, pair_length, sentences, sentence_length = self.shape
        predictions = sum(n * -(-15 * t // 100) for n, t in ((samples, length), (pairs, pair_length)))
        scale = 1.0 / (predictions + sentences)
        for size in ((samples, length), (pairs, pair_length)):
            (self.masked_lm_loss(*size) * scale).backward()
        loss, keys = self.contrast_loss(sentences, sentence_length)
        (loss * scale).backward()
        # In place, which the backward pass would not have allowed.
        places = (self.pointer + torch.arange(sentences, device=self.device)) % len(self.queue)
        self.queue.index_copy_(0, places, keys)
        self.pointer = (self.pointer + sentences) % len(self.queue)
        torch.nn.utils.clip_grad_norm_(self.parameters, CLIP_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(self.keys, [weight.detach() for weight in self.followed], 1 - MOMENTUM)
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def masked_lm_loss(self, samples, length):
        ids = self.random_ids(samples, length)
        predictions = -(-15 * length // 100)
        positions = torch.rand(samples, length, device=self.device).topk(predictions).indices
        labels = ids.gather(1, positions)
        with self.half:
            states = self.encoder(ids.scatter(1, positions, self.vocabulary - 1))
            states = states.gather(1, positions[:, :, None].expand(-1, -1, states.shape[2]))
            logits = self.head(states.flatten(0, 1), self.encoder.tokens.weight)
        return functional.cross_entropy(logits.float(), labels.flatten(), reduction="sum")

    def contrast_loss(self, sentences, length):
        with torch.no_grad():
            with self.half:
                states = self.key_encoder(self.random_ids(sentences, length))
            keys = states[:, 0].float() @ self.key_projection
        with self.half:
            states = self.encoder(self.random_ids(sentences, length), self.universal)
        queries = states[:, 0].float() @ self.projection
        positive = (queries * keys).sum(1, keepdim=True)
        logits = torch.cat([positive, queries @ self.queue.T], dim=1) / TEMPERATURE
        right = torch.zeros(sentences, dtype=torch.long, device=self.device)
        return functional.cross_entropy(logits, right, reduction="sum"), keys

    def random_ids(self, samples, length):
        return torch.randint(4, self.vocabulary - 1, (samples, length), device=self.device)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--shape", default="8,256,16,128,32,64")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, help="of the CPU; by default PyTorch's choice")
    parser.add_argument("--compile", action="store_true", help="by torch.compile")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    start = time.perf_counter()
    step = Step(options, device)
    ends = []
    for _ in range(options.steps + 2):
        step.run()
        ends.append(time.perf_counter())
    median = statistics.median(after - before for before, after in itertools.pairwise(ends[1:]))
    b_mmlm, t_mmlm, b_tlm, t_tlm, b_xlco, t_xlco = step.shape
    tokens = b_mmlm * t_mmlm + b_tlm * t_tlm + 2 * b_xlco * t_xlco
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated()
    print(
        json.dumps(
            {
                **vars(options),
                "seconds": round(median, 4),
                "tokens_per_second": round(tokens / median),
                "peak_gb": round(peak / 1e9, 2),
                "first_step_seconds": round(ends[0] - start, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
