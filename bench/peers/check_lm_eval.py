"""Are they the same numbers? `photon eval` against EleutherAI's lm-evaluation-harness on the documents of
tests/data/eval.

The program trains a tiny model for a few steps. The harness's own tasks then ask a model class of this file, which
tokenizes with the library `tokenizers`, and gets log-probabilities of token sequences from `photon score`. So what is
compared is everything that `photon eval` adds to it: clean-ups, prompts, borders between context and continuation,
windows, truncation, metrics. Whether a word is what greedy decoding gives is found by scoring every token of the
vocabulary in its place.

  python3 bench/peers/check_lm_eval.py [--build FOLDER]

Prints a line for each metric; exit code 1 where one is off, 77 where this Python has no lm_eval or tokenizers.

Tolerance: 1e-5, relative. Scoring a continuation behind its context and scoring all of both are products of other
shapes, whose f32 sums round differently: 1e-5 of a log-likelihood is what check_torch.py allows such sums. Measured:
9e-7, and accuracies are the same.
"""

import argparse
import json
import os
import pathlib
import random
import subprocess
import tempfile

import common

os.environ.update(HF_DATASETS_OFFLINE="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
try:
    import lm_eval
    import tokenizers
    from lm_eval import utils
    from lm_eval.api.model import TemplateLM
    from lm_eval.tasks import TaskManager
except ImportError as error:
    common.missing(error.name)

TOLERANCE = 1e-5
DOCUMENTS = common.ROOT / "tests/data/eval"
CHOICES = ["hellaswag", "arc_easy", "piqa", "sciq"]
TASKS = ["wikitext", "lambada_openai"] + CHOICES
VOCABULARY = 300
END_OF_TEXT = "<|endoftext|>"


class Photon(TemplateLM):
    """A model whose log-probabilities are those of `photon score`."""

    backend = "causal"

    def __init__(self, program, checkpoint, tokenizer, max_length, add_bos_token):
        super().__init__()
        self.program, self.checkpoint, self.tokenizer = program, checkpoint, tokenizer
        self.max_length, self.add_bos_token = max_length, add_bos_token
        self.judges_greedy = False  # takes long

    @property
    def eot_token_id(self):
        return self.tokenizer.token_to_id(END_OF_TEXT)

    def tok_encode(self, string, add_special_tokens=None, **kwargs):
        ids = self.tokenizer.encode(string, add_special_tokens=False).ids
        leads = self.add_bos_token if add_special_tokens is None else add_special_tokens
        return [self.prefix_token_id] + ids if leads else ids

    def scores(self, sequences):
        lines = "".join(json.dumps({"tokens": tokens}) + "\n" for tokens in sequences)
        command = [self.program, "score", "--checkpoint", self.checkpoint, "--input", "-"]
        out = subprocess.run(command, input=lines, capture_output=True, text=True, check=True).stdout
        return [json.loads(line)["logprobs"] for line in out.splitlines()]

    def is_greedy(self, tokens, count):
        """Whether none of the last `count` tokens has a more likely one in its place."""
        for at in range(len(tokens) - count, len(tokens)):
            candidates = self.scores([tokens[:at] + [token] for token in range(VOCABULARY)])
            if max(range(VOCABULARY), key=lambda token: candidates[token][-1]) != tokens[at]:
                return False
        return True

    def _loglikelihood_tokens(self, requests, **kwargs):
        sequences = [(context + continuation)[-(self.max_length + 1):] for _, context, continuation in requests]
        answers = []
        for (_, _, continuation), tokens, scores in zip(requests, sequences, self.scores(sequences)):
            count = len(continuation)
            answers.append((sum(scores[-count:]), self.judges_greedy and self.is_greedy(tokens, count)))
        return answers

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        sums = []
        for (string,) in [request.args for request in requests]:
            tokens = self.tok_encode(string, add_special_tokens=False)
            windows = utils.get_rolling_token_windows(token_list=tokens, prefix_token=self.prefix_token_id,
                                                      max_seq_len=self.max_length, context_len=1)
            windows = [utils.make_disjoint_window(window) for window in windows]
            sequences = [context + continuation for context, continuation in windows]
            sums.append(sum(sum(scores[-len(window[1]):]) for window, scores in zip(windows, self.scores(sequences))))
        return sums

    def generate_until(self, requests, disable_tqdm=False):
        raise NotImplementedError


def make_tokenizer(path):
    """A byte-level BPE, trained on the documents themselves."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=[END_OF_TEXT], show_progress=False,
                                             initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train([str(path) for path in sorted(DOCUMENTS.glob("*.jsonl"))], trainer)
    assert tokenizer.get_vocab_size() == VOCABULARY
    tokenizer.save(str(path))
    return tokenizer


def documents(task):
    return [json.loads(line) for line in open(DOCUMENTS / f"{task}.jsonl", encoding="utf-8")]


def make_checkpoint(program, folder):
    """Of a model that has learnt some of the documents by heart, so that it finds some words."""
    tokenizer = make_tokenizer(folder / "tokenizer.json")
    texts = [page["page"] for page in documents("wikitext")]
    texts += [passage["text"] for passage in documents("lambada_openai")[:2]]
    texts *= 40
    random.Random(1).shuffle(texts)
    (folder / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    run = lambda *arguments: subprocess.run([program, *map(str, arguments)], check=True, capture_output=True)
    run("prepare", "--input", folder / "text.jsonl", "--tokenizer", folder / "tokenizer.json", "--out", folder / "data")
    settings = {"run_dir": folder / "run", "data.train": folder / "data", "model.vocab_size": VOCABULARY,
                "training.steps": 300, "training.optimizer.peak_lr": 0.01, "training.valid_every": 0}
    options = [option for key, value in settings.items() for option in ("--set", f"{key}={value}")]
    run("train", "--config", common.ROOT / "configs/tiny.textproto", *options)
    return tokenizer


def harness(model, task, folder):
    """The harness's metrics and the answers that each document got, by its own task file with other documents."""
    (original,) = pathlib.Path(lm_eval.__file__).parent.glob(f"tasks/*/{task}.yaml")
    files = {split: str(DOCUMENTS / f"{task}.jsonl") for split in ("train", "validation", "test")}
    file = folder / f"{task}.yaml"
    settings = {"include": str(original), "dataset_path": "json", "dataset_name": None,
                "dataset_kwargs": {"data_files": files}}
    if task in CHOICES:  # most tasks leave acc_bytes out
        settings["metric_list"] = [{"metric": metric} for metric in ("acc", "acc_norm", "acc_bytes")]
    file.write_text(json.dumps(settings))  # which is YAML too
    model.judges_greedy = task == "lambada_openai"
    found = lm_eval.simple_evaluate(model=model, tasks=[str(file)], bootstrap_iters=2, log_samples=True,
                                    task_manager=TaskManager(include_defaults=False))
    metrics = {metric.removesuffix(",none"): value for metric, value in found["results"][task].items()
               if metric.endswith(",none") and isinstance(value, float) and metric != "perplexity_stderr,none"}
    samples = sorted(found["samples"][task], key=lambda sample: sample["doc_id"])
    return metrics, [sample["filtered_resps"] for sample in samples]


def ours(program, checkpoint, max_length, add_bos_token, folder):
    command = [program, "eval", "--checkpoint", checkpoint, "--max-length", str(max_length), "--output",
               str(folder / "ours.json"), "--samples", str(folder / "ours.jsonl")]
    for task in TASKS:
        command += ["--task", f"{task}={DOCUMENTS / task}.jsonl"]
    subprocess.run(command + ([] if add_bos_token else ["--no-bos"]), check=True, capture_output=True)
    samples = {task: [] for task in TASKS}
    for line in open(folder / "ours.jsonl", encoding="utf-8"):
        sample = json.loads(line)
        samples[sample["task"]].append(sample)
    return json.load(open(folder / "ours.json"))["results"], samples


def compare_answers(theirs, own):
    """The largest relative difference of log-likelihoods; infinite where a greedy word is none for the other."""
    worst = 0.0
    for answers, sample in zip(theirs, own, strict=True):
        if "continuations" in sample:
            pairs = list(zip(answers, sample["continuations"], strict=True))
            values = [(answer[0], mine["log_likelihood"]) for answer, mine in pairs]
            if sample["task"] == "lambada_openai" and any(answer[1] != mine["greedy"] for answer, mine in pairs):
                return float("inf")
        else:
            values = [(answers[0], sample["log_likelihood"])]
        worst = max([worst] + [abs(a - b) / max(abs(a), 1e-9) for a, b in values])
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_build_option(parser)
    program = str(parser.parse_args().build / "photon")
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tokenizer = make_checkpoint(program, folder)
        checkpoint = str(folder / "run")
        # At 48 contexts are cut and documents read in windows; at 2048 nothing is.
        for max_length, add_bos_token in ((48, False), (48, True), (2048, True)):
            model = Photon(program, checkpoint, tokenizer, max_length, add_bos_token)
            own, own_samples = ours(program, checkpoint, max_length, add_bos_token, folder)
            for task in TASKS:
                metrics, answers = harness(model, task, folder)
                rows = [(f"{metric} {value:.8g} {own[task][metric]:.8g}",
                         abs(own[task][metric] - value) / max(abs(value), 1e-9)) for metric, value in metrics.items()]
                rows.append(("log-likelihoods", compare_answers(answers, own_samples[task])))
                for what, off in rows:
                    wrong += not off <= TOLERANCE
                    print(f"{'ok ' if off <= TOLERANCE else 'BAD'} length {max_length:4} bos {add_bos_token:1} "
                          f"{task:14} off by {off:.1e}: {what}")
    return 1 if wrong else 0


common.start(main)
