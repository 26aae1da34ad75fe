"""OpenAI's own client against `photon serve`: it must find in the answers what it looks for there.

  python3 tests/peers/check_openai.py PHOTON CONFIG     (the program, and configs/tiny.textproto)

Trains a tiny model with a tokenizer first, as a user would. Exit code 1 where something is off, 77 where this Python has
no openai.
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

try:
    import openai
except ImportError:
    print(f"skipped: {sys.executable} has no openai; pip install openai", file=sys.stderr)
    sys.exit(77)


def make_model(photon, config, folder):
    text = folder / "text"
    text.write_text("".join(f"and god said let there be light {i} and there was light\n" for i in range(400)))
    run = lambda *arguments: subprocess.run([photon, *map(str, arguments)], check=True, capture_output=True)
    run("prepare", "--input", text, "--train-tokenizer", 320, "--out", folder / "tokens")
    settings = [f"data.train={folder / 'tokens'}", "model.vocab_size=320", "training.steps=4", "data.valid_fraction=0",
                f"run_dir={folder / 'run'}"]
    run("train", "--config", config, *(word for setting in settings for word in ("--set", setting)))
    return folder / "run"


class Server:
    def __init__(self, photon, run, keys):
        self.process = subprocess.Popen(
            [photon, "serve", "--checkpoint", str(run), "--port", "0", "--api-keys", str(keys), "--max-context", "400"],
            stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        self.url = re.search(r"http://\S+", line).group() + "/v1"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        assert code == 0, code


def refused(kind, call, **fields):
    try:
        call()
    except kind as error:
        for name, value in fields.items():
            assert getattr(error, name) == value, (name, getattr(error, name), value)
    else:
        raise AssertionError(f"no {kind.__name__}")


def check(url):
    client = openai.OpenAI(base_url=url, api_key="secret", max_retries=0)
    assert [model.id for model in client.models.list()] == ["run"]
    assert client.models.retrieve("run").owned_by == "photon"
    complete = lambda **fields: client.completions.create(**{"model": "run", "prompt": "and god", "seed": 3, **fields})

    whole = complete(max_tokens=20, n=2, logprobs=3, extra_body={"ignore_eos": True})
    assert [choice.index for choice in whole.choices] == [0, 1]
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage.completion_tokens == 40
    assert len(whole.choices[0].logprobs.tokens) == 20
    assert all(len(top) >= 3 for top in whole.choices[0].logprobs.top_logprobs)

    for mode in ("hier", "hier-parallel", "rec"):
        fields = dict(max_tokens=20, extra_body={"ignore_eos": True, "mode": mode})
        events = list(complete(stream=True, stream_options={"include_usage": True}, **fields))
        text = "".join(choice.text for event in events for choice in event.choices)
        assert text == complete(**fields).choices[0].text, mode
        assert events[-1].usage.completion_tokens == 20
        assert events[-2].choices[0].finish_reason == "length"

    assert len(complete(prompt=[[1, 2], [3]], max_tokens=2).choices) == 2
    refused(openai.BadRequestError, lambda: complete(max_tokens=0), param="max_tokens")
    refused(openai.BadRequestError, lambda: complete(max_tokens=400), code="context_length_exceeded")
    refused(openai.NotFoundError, lambda: complete(model="gpt"), code="model_not_found")
    refused(openai.AuthenticationError, lambda: openai.OpenAI(base_url=url, api_key="no", max_retries=0).models.list(),
            code="invalid_api_key")
    refused(openai.BadRequestError, lambda: client.chat.completions.create(
        model="run", messages=[{"role": "user", "content": "x"}]), code="no_chat_template")


def main():
    photon, config = (os.path.abspath(path) for path in sys.argv[1:3])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "keys").write_text("secret\n")
        with Server(photon, make_model(photon, config, folder), folder / "keys") as server:
            check(server.url)
    print("the client found all it looked for")


main()
