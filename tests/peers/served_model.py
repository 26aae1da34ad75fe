"""`photon serve` with a tiny model that was trained for it, for tests of its clients."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import tempfile


def make_model(photon, config, folder):
    """As a user would, with a tokenizer and a chat template. Returns the run folder."""
    text = folder / "text"
    text.write_text("".join(f"and god said let there be light {i} and there was light\n" for i in range(400)))

    def run(*arguments):
        subprocess.run([photon, *map(str, arguments)], check=True, capture_output=True)

    # `--set` knows no lists of groups, such as a template's roles.
    chat = (pathlib.Path(config).parent / "chat" / "chatml.textproto").read_text()
    with_chat = folder / "config.textproto"
    with_chat.write_text(pathlib.Path(config).read_text().replace("data {", f"data {{ chat_template {{ {chat} }}", 1))

    run("prepare", "--input", text, "--train-tokenizer", 320, "--out", folder / "tokens")
    settings = [f"data.train={folder / 'tokens'}", "model.vocab_size=320", "training.steps=4", "data.valid_fraction=0",
                f"run_dir={folder / 'run'}"]
    run("train", "--config", with_chat, *(word for setting in settings for word in ("--set", setting)))
    return folder / "run"


@contextlib.contextmanager
def served_model(photon, config):
    """Yields the server's URL. It knows one API key, "secret", and a context of 400 tokens."""
    photon, config = os.path.abspath(photon), os.path.abspath(config)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "keys").write_text("secret\n")
        run = make_model(photon, config, folder)
        server = subprocess.Popen(
            [photon, "serve", "--checkpoint", str(run), "--port", "0", "--api-keys", str(folder / "keys"),
             "--max-context", "400"],
            stderr=subprocess.PIPE, text=True)
        try:
            yield re.search(r"http://\S+", server.stderr.readline()).group()
        finally:
            server.send_signal(signal.SIGTERM)
            code = server.wait(timeout=30)
        assert code == 0, code
