"""Decoding the flat model, one sequence, against llama.cpp: the same weights, precision, threads and prompt, in turns.

  python3 bench/peers/decode.py [--build FOLDER] [--dtype bf16|f32] [--threads N ..] [--tokens N] [--rounds N]

Makes a model of 127 M parameters with random weights (the speed doesn't depend on them), imports it into a checkpoint,
and exports that to GGUF. This project decodes in a process a round (build/bench/decode --checkpoint, which warms up
first and also measures how fast memory is read); llama.cpp in this process, through its C interface: llama_decode of one
token and its own greedy sampler, nothing of Python's in between but two calls a token. Both read a prompt first, which
is not timed. Prints whether both generated the same tokens: bf16 rounds in another order, so they may part.
"""

import argparse
import ctypes
import json
import os
import pathlib
import struct
import sys
import tempfile
import time

import common

try:
    import llama_cpp
    import numpy
except ImportError as error:
    common.missing(error.name)

MODEL = {"vocab_size": 32000, "width": 768, "ffn": 2048, "heads": 12, "kv_heads": 12, "levels": [], "layers": 11}


def tensors():
    """Names and shapes of the flat model."""
    d, f = MODEL["width"], MODEL["ffn"]
    yield "embedding.weight", (MODEL["vocab_size"], d)
    for i in range(MODEL["layers"]):
        layer = f"stack.layers.{i}."
        yield layer + "attention_norm.weight", (d,)
        for name in ("q", "k", "v", "o"):
            yield layer + f"attention.{name}_proj.weight", (d, d)
        yield layer + "ffn_norm.weight", (d,)
        yield layer + "ffn.gate_proj.weight", (f, d)
        yield layer + "ffn.up_proj.weight", (f, d)
        yield layer + "ffn.down_proj.weight", (d, f)
    yield "stack.norm.weight", (d,)
    yield "lm_head.weight", (MODEL["vocab_size"], d)


def write_safetensors(path):
    header, offset = {}, 0
    for name, shape in tensors():
        size = 4 * int(numpy.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = numpy.random.default_rng(1)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name, shape in tensors():
            values = random.standard_normal(shape, dtype=numpy.float32) * numpy.float32(0.05)
            out.write((values if len(shape) > 1 else numpy.ones(shape, numpy.float32)).tobytes())
    path.with_suffix(".json").write_text(json.dumps(MODEL))


class LlamaCpp:
    """A model and a context of llama.cpp, held through all rounds."""

    def __init__(self, gguf, threads, prompt, tokens, dtype):
        self.tokens = tokens
        self.prompt = [i * 7919 % MODEL["vocab_size"] for i in range(prompt)]
        # Its log goes through Python otherwise.
        self.silence = llama_cpp.llama_log_callback(lambda level, text, user: None)
        llama_cpp.llama_log_set(self.silence, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(str(gguf).encode(), llama_cpp.llama_model_default_params())
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = prompt + tokens + 8
        parameters.n_threads = parameters.n_threads_batch = threads
        if dtype == "f32":
            parameters.type_k = parameters.type_v = llama_cpp.GGML_TYPE_F32
        self.context = llama_cpp.llama_init_from_model(self.model, parameters)
        if not self.context:
            sys.exit("llama.cpp refused the model")
        self.sampler = llama_cpp.llama_sampler_init_greedy()

    def decode(self, ids):
        array = (llama_cpp.llama_token * len(ids))(*ids)
        if llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(array, len(ids))) != 0:
            sys.exit("llama_decode failed")

    def run(self):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        self.decode(self.prompt)
        self.generated = []
        start = time.perf_counter()
        for _ in range(self.tokens):
            token = llama_cpp.llama_sampler_sample(self.sampler, self.context, -1)
            self.generated.append(token)
            self.decode([token])
        return common.Sample(self.tokens, time.perf_counter() - start)


class Ours:
    def __init__(self, build, checkpoint, threads, prompt, tokens, dtype):
        self.command = [build / "bench" / "decode", "--checkpoint", checkpoint, "--dtype", dtype, "--prompt", prompt,
                        "--tokens", tokens, "--rounds", 1]
        self.threads = threads
        self.reports = []

    def run(self):
        report = common.run_program(self.command, threads=self.threads).json
        self.reports.append(report)
        return common.Sample(report["tokens"], report["results"][0]["decode_seconds"])

    def limit(self):
        """Tokens a second, if nothing but reading took time: at the best bandwidth of all rounds."""
        read = max(report["read_bytes_per_s"] for report in self.reports)
        return read / self.reports[0]["results"][0]["bytes_per_token"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_build_option(parser)
    parser.add_argument("--dtype", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count()])
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_safetensors(folder / "model.safetensors")
        photon = arguments.build / "photon"
        common.run_program([photon, "checkpoint", "import", "--in", folder / "model.safetensors", "--checkpoint",
                            folder / "model"])
        (folder / "model.safetensors").unlink()
        common.run_program([photon, "checkpoint", "export", "--checkpoint", folder / "model", "--format", "gguf",
                            "--dtype", arguments.dtype, "--out", folder / "model.gguf"])
        prompt = [i * 7919 % MODEL["vocab_size"] for i in range(arguments.prompt)]
        (folder / "prompt.json").write_text(json.dumps(prompt))
        ours_ids = json.loads(common.run_program(
            [photon, "generate", "--checkpoint", folder / "model", "--dtype", arguments.dtype, "--prompt-tokens",
             folder / "prompt.json", "--output", "tokens", "--temperature", 0, "--max-new-tokens", 32]).output)
        for threads in dict.fromkeys(arguments.threads):
            ours = Ours(arguments.build, folder / "model", threads, arguments.prompt, arguments.tokens, arguments.dtype)
            peer = LlamaCpp(folder / "model.gguf", threads, arguments.prompt, arguments.tokens, arguments.dtype)
            for side in (ours, peer):
                side.run()
            same = next((i for i, (a, b) in enumerate(zip(ours_ids, peer.generated)) if a != b), len(ours_ids))
            settings = {"parameters": sum(int(numpy.prod(shape)) for _, shape in tensors()), "dtype": arguments.dtype,
                        "threads": threads, "prompt": arguments.prompt, "tokens": arguments.tokens,
                        "llama_cpp_python": llama_cpp.__version__, "first_tokens_equal": f"{same} of {len(ours_ids)}"}
            common.compare("decode", [common.Side("photon", ours.run), common.Side("llama.cpp", peer.run)],
                           unit="tokens/s", limit=ours.limit, limit_name="reading weights and cache once a token",
                           rounds=arguments.rounds, settings=settings)


if __name__ == "__main__":
    common.start(main)
