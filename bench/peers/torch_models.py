"""PHOTON, the Block Transformer (PHOTON with one level) and the flat Transformer in PyTorch, as docs/model.md defines
them, written the way PyTorch is fast on a CPU: one product for q, k and v and one for gate and up, fused attention
(is_causal where no mask is needed; for windows of five, plain products are no faster), windows as a batch dimension, no
loop over positions.

Independent of the C++ program: both are written from the same page. load() takes what `photon checkpoint export` wrote.
check_torch.py holds the two against each other, train_step.py times them.
"""

import json
import math
import pathlib
import struct

import numpy
import torch
import torch.nn.functional as F
from torch import nn


class Rope(nn.Module):
    """Rotation of dimension i with i + d/2. Tables are made in double precision, for positions 0 .. length - 1."""

    def __init__(self, dim, theta):
        super().__init__()
        self.inverse = theta ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        self.tables = {}

    def table(self, length, dtype, device):
        """cos and sin, [length, 1, dim / 2], kept: shapes in training don't change."""
        if (length, dtype) not in self.tables:
            angle = torch.outer(torch.arange(length, dtype=torch.float64), self.inverse)
            self.tables[length, dtype] = tuple(t.to(device, dtype)[:, None] for t in (angle.cos(), angle.sin()))
        return self.tables[length, dtype]

    def forward(self, x):  # [B, N, heads, dim]
        cos, sin = self.table(x.shape[1], x.dtype, x.device)
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Layer(nn.Module):
    def __init__(self, config, rope):
        super().__init__()
        width, ffn = config["width"], config["ffn"]
        self.heads, self.kv_heads = config["heads"], config.get("kv_heads", config["heads"])
        self.dim = width // self.heads
        self.rope = rope
        self.attention_norm = nn.RMSNorm(width, config["norm_eps"])
        self.qkv = nn.Linear(width, (self.heads + 2 * self.kv_heads) * self.dim, bias=False)
        self.o = nn.Linear(width, width, bias=False)
        self.ffn_norm = nn.RMSNorm(width, config["norm_eps"])
        self.gate_up = nn.Linear(width, 2 * ffn, bias=False)
        self.down = nn.Linear(ffn, width, bias=False)

    def forward(self, x, mask):  # [B, N, D]
        b, n, _ = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(b, n, self.heads + 2 * self.kv_heads, self.dim)
        qk, v = qkv.split((self.heads + self.kv_heads, self.kv_heads), 2)
        q, k = self.rope(qk).split((self.heads, self.kv_heads), 2)
        y = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask,
                                           is_causal=mask is None, enable_gqa=self.kv_heads != self.heads)
        x = x + self.o(y.transpose(1, 2).reshape(b, n, -1))
        gate, up = self.gate_up(self.ffn_norm(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Stack(nn.Module):
    """Layers and a final norm. `mask` [B, 1, N, N], true where a query sees a key; None: causal."""

    def __init__(self, config, layers, rope):
        super().__init__()
        self.layers = nn.ModuleList(Layer(config, rope) for _ in range(layers))
        self.norm = nn.RMSNorm(config["width"], config["norm_eps"])

    def forward(self, x, mask=None):
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


class Level(nn.Module):
    def __init__(self, config, index, rope):
        super().__init__()
        level, width = config["levels"][index - 1], config["width"]
        self.index, self.chunk, self.prefix = index, level["chunk"], level["prefix"]
        if index > 1:
            self.chunk_norm = nn.RMSNorm(self.chunk * width, config["norm_eps"])
            self.chunk_proj = nn.Linear(self.chunk * width, width)
        self.encoder = Stack(config, level["encoder_layers"], rope)
        self.converter = nn.Linear(width, self.prefix * width)
        self.decoder = Stack(config, level["decoder_layers"], rope)
        self.shifts = index == len(config["levels"]) or config.get("shift") == "ALL"
        if self.shifts:
            self.start = nn.Parameter(torch.empty(width))

    def join(self, x):
        """C_l vectors of the level below become one: [B, M_(l-1), ..] to [B, M_l, D]."""
        x = x.reshape(x.shape[0], x.shape[1] // self.chunk, -1)
        return x if self.index == 1 else self.chunk_proj(self.chunk_norm(x))

    def shift(self, x, first):
        """Row g gets row g - 1; a sequence's first row, and where `first` [B, M] says so, the start latent."""
        shifted = torch.cat((self.start.expand(x.shape[0], 1, -1).to(x.dtype), x[:, :-1]), 1)
        return shifted if first is None else torch.where(first[..., None], self.start, shifted)

    def decode(self, s, contents):
        """Xh^(l-1) [B, M_(l-1), D] of s [B, M_l, D]. `contents` [B, M_(l-1), D]; None: the decoder's own outputs."""
        b, units, width = s.shape
        prefixes = self.converter(s).view(b * units, self.prefix, width)
        if contents is not None:
            given = contents.reshape(b * units, self.chunk, width)[:, :-1]
            out = self.decoder(torch.cat((prefixes.to(given.dtype), given), 1))  # the stream keeps its type
            out = out[:, self.prefix - 1:]
        else:
            window = prefixes.to(s.dtype)
            for slot in range(self.chunk):
                own = self.decoder(window)[:, -1:]
                window = torch.cat((window, own), 1)
            out = window[:, self.prefix:]
        return out.reshape(b, units * self.chunk, width)


class Photon(nn.Module):
    """logits[i] scores token i itself: target_offset 0."""

    target_offset = 0

    def __init__(self, config):
        super().__init__()
        self.config = config
        levels, width = config["levels"], config["width"]
        rope = Rope(width // config["heads"], config["rope_theta"])
        self.encoder_embedding = nn.Embedding(config["vocab_size"], width // levels[0]["chunk"])
        self.decoder_embedding = nn.Embedding(config["vocab_size"], width)
        self.levels = nn.ModuleList(Level(config, i + 1, rope) for i in range(len(levels)))
        self.lm_head = nn.Linear(width, config["vocab_size"], bias=False)

    def forward(self, tokens, document_begin=None):
        """tokens [B, T], document_begin [B, T] (None: one document a sequence) to the rows that the head takes,
        [B, T, D], and the pairs (Xh^(l-1), X^(l-1)), l = 2..L, of the reconstruction loss."""
        states = [self.encoder_embedding(tokens)]
        first, per_unit = {}, 1
        for level in self.levels:
            per_unit *= level.chunk
            mask, group = None, None
            if level.index < len(self.levels) and self.config.get("encoder_scope") == "GROUP":
                group = self.levels[level.index].chunk  # holds one document only: they are aligned to C_<=L
            if document_begin is not None:
                begin = document_begin[:, ::per_unit] // per_unit
                first[level.index] = begin == torch.arange(begin.shape[1])
                mask = None if group else document_mask(begin)
            states.append(encode(level.encoder, level.join(states[-1]), mask, group))
        s, pairs = states[-1], []
        for level in reversed(self.levels):
            below = states[level.index - 1]
            if level.shifts:
                s = level.shift(s, first.get(level.index))
            if level.index == 1:
                s = level.decode(s, self.decoder_embedding(tokens))
            else:
                own = self.config.get("contents") == "RECONSTRUCTED"
                s = level.decode(s, None if own else below)
                pairs.append((level.index, s, below))
        return s, pairs

    def embed(self, tokens):
        return self.decoder_embedding(tokens)


class Flat(nn.Module):
    """The ordinary Transformer: logits[i] scores token i + 1."""

    target_offset = 1

    def __init__(self, config):
        super().__init__()
        self.config = config
        rope = Rope(config["width"] // config["heads"], config["rope_theta"])
        self.embedding = nn.Embedding(config["vocab_size"], config["width"])
        self.stack = Stack(config, config["layers"], rope)
        self.lm_head = nn.Linear(config["width"], config["vocab_size"], bias=False)

    def forward(self, tokens, document_begin=None):
        mask = None if document_begin is None else document_mask(document_begin)
        return self.stack(self.embedding(tokens), mask), []


def encode(stack, x, mask, group):
    """`stack` over x [B, M, D]; with `group`, attention stays inside groups of so many units."""
    if group is None:
        return stack(x, mask)
    b, units, width = x.shape
    return stack(x.reshape(b * units // group, group, width)).reshape(b, units, width)


def document_mask(begin):
    """[B, 1, N, N]: unit i sees units begin[i] .. i. `begin` [B, N]."""
    at = torch.arange(begin.shape[1])
    return ((at <= at[:, None]) & (at >= begin[..., None]))[:, None]


def create(config):
    """A model of a config as in the F.json beside exported weights, its weights not yet set."""
    config = {"rope_theta": 10000.0, "norm_eps": 1e-5, **config}
    return Photon(config) if config["levels"] else Flat(config)


def initialize(model, seed=1):
    """Initial values as docs/model.md has them (other draws than the C++ program's)."""
    torch.manual_seed(seed)
    for name, p in model.named_parameters():
        if "norm" in name:
            nn.init.ones_(p)
        elif name.endswith("bias"):
            nn.init.zeros_(p)
        else:
            fan_in = p.shape[-1]
            nn.init.normal_(p, std=fan_in ** -0.5 if "converter" in name or "chunk_proj" in name else 0.02)
    return model


def decays(name):
    """Weight decay acts on matrices, not on embeddings, norms, biases and start latents."""
    return name.endswith("weight") and "norm" not in name and "embedding" not in name


# The end of a name here, and of the exported names whose rows it joins.
JOINED = {"qkv.weight": [f"attention.{p}_proj.weight" for p in "qkv"], "o.weight": ["attention.o_proj.weight"],
          "gate_up.weight": ["ffn.gate_proj.weight", "ffn.up_proj.weight"], "down.weight": ["ffn.down_proj.weight"]}


def exported_names(name):
    """The exported tensors that parameter `name` consists of, row after row."""
    if name.startswith("levels."):
        _, number, rest = name.split(".", 2)
        name = f"level.{int(number) + 1}.{rest}"
    name = name.replace("chunk_norm", "chunker.norm").replace("chunk_proj", "chunker.proj")
    for end, parts in JOINED.items():
        if ".layers." in name and name.endswith("." + end):
            return [name[:-len(end)] + part for part in parts]
    return [name]


def load(path):
    """The model of F.safetensors and the F.json beside it, in f32."""
    path = pathlib.Path(path)
    model = create(json.loads(path.with_suffix(".json").read_text()))
    tensors = read_safetensors(path)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.cat([tensors.pop(part) for part in exported_names(name)]))
    if tensors:
        raise ValueError(f"{path}: tensors that the model has not: {', '.join(sorted(tensors))}")
    return model


def read_safetensors(path):
    """{name: f32 tensor}. The format: u64 length, so much JSON, bytes."""
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    tensors = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F32":
            raise ValueError(f"{path}: {name} is {entry['dtype']}, not F32")
        begin = 8 + length + entry["data_offsets"][0]
        flat = numpy.frombuffer(data, "<f4", math.prod(entry["shape"]), begin)
        tensors[name] = torch.from_numpy(flat.copy()).reshape(entry["shape"])
    return tensors


def cross_entropy(model, hidden, tokens, scored=None, fused=False):
    """Mean -log p over the tokens that `scored` [B, T] (None: all that the model can predict) marks. `fused`: head and
    loss in chunks of rows, never all logits at once, where this torch (2.15 and later) has that."""
    targets = tokens if scored is None else torch.where(scored, tokens, -100)
    if model.target_offset:
        targets = torch.cat((targets[:, 1:], torch.full_like(targets[:, :1], -100)), 1)
    if fused and hasattr(F, "linear_cross_entropy"):
        return F.linear_cross_entropy(hidden.flatten(0, 1), model.lm_head.weight, targets.flatten())
    return F.cross_entropy(model.lm_head(hidden).flatten(0, 1).float(), targets.flatten())


def reconstruction_loss(model, hidden, pairs, tokens, real, objective):
    """L_rec: sum over levels of the mean, over units that hold a real token, of 1 - cos(Xh, X)."""
    if objective.get("level_one_term") and model.target_offset == 0:
        pairs = pairs + [(1, hidden, model.embed(tokens))]
    total = torch.zeros(())
    for index, reconstructed, encoded in pairs:
        if objective.get("stop_gradient", True):
            encoded = encoded.detach()
        units = real.reshape(real.shape[0], encoded.shape[1], -1).any(-1)
        distance = 1 - F.cosine_similarity(reconstructed.float(), encoded.float(), dim=-1)
        total = total + distance[units].mean()
    return total
