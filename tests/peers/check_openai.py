"""OpenAI's own client against `photon serve`: it must find in the answers what it looks for there.

  python3 tests/peers/check_openai.py PHOTON CONFIG     (the program, and configs/tiny.textproto)

Exit code 1 where something is off, 77 where this Python has
no openai.
"""

import sys

from served_model import served_model

try:
    import openai
except ImportError:
    print(f"skipped: {sys.executable} has no openai; pip install openai", file=sys.stderr)
    sys.exit(77)


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


with served_model(*sys.argv[1:3]) as url:
    check(url + "/v1")
print("the client found all it looked for")
