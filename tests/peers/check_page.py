"""The page of `photon serve` in a browser: it asks for the key, shows the modes, and writes texts as they come.

  python3 tests/peers/check_page.py PHOTON CONFIG [PICTURE.png]     (the program, and configs/tiny.textproto)

Exit code 1 where something is off, 77 where this Python has no websocket or the machine no Chromium.
"""

import base64
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

from served_model import served_model

chromium = shutil.which("chromium")
if chromium is None:
    print("skipped: this machine has no chromium; apt-get install chromium", file=sys.stderr)
    sys.exit(77)
try:
    import websocket
except ImportError:
    print(f"skipped: {sys.executable} has no websocket; pip install websocket-client", file=sys.stderr)
    sys.exit(77)


class Browser:
    """Chromium without a window, by its DevTools protocol."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
             "--remote-allow-origins=*", "--window-size=1240,860", f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = pathlib.Path(folder) / "DevToolsActivePort"
        wait_for(lambda: port_file.exists() and port_file.read_text().count("\n"), "the browser")
        port = port_file.read_text().split("\n")[0]
        pages = [page for page in json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
                 if page["type"] == "page"]
        self.socket = websocket.create_connection(pages[0]["webSocketDebuggerUrl"], timeout=60)
        self.calls = 0
        self.errors = []
        self.call("Runtime.enable")

    def call(self, method, **parameters):
        self.calls += 1
        self.socket.send(json.dumps({"id": self.calls, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(message["params"]["exceptionDetails"])
            if message.get("id") == self.calls:
                return message["result"]

    def run(self, script):
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def close(self):
        self.process.terminate()
        self.process.wait()


def wait_for(condition, what):
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"waited in vain for {what}")


def complete(url, **fields):
    request = urllib.request.Request(url + "/v1/completions", json.dumps(fields).encode(),
                                     {"Content-Type": "application/json", "Authorization": "Bearer secret"})
    return json.load(urllib.request.urlopen(request))["choices"][0]


def check_text_held_back(browser, url):
    """A text that end-of-text ends on what a stop string may begin with: its last piece comes without a token."""
    fields = {"prompt": "and god", "max_tokens": 40, "temperature": 0.8, "top_p": 0.95}
    for seed in range(1000):
        choice = complete(url, seed=seed, **fields)
        whole = choice["text"]
        if choice["finish_reason"] == "stop" and whole[-1:].isascii() and whole:
            break
    stop = whole[-1] + "never"
    assert complete(url, seed=seed, stop=stop, **fields)["text"] == whole
    browser.run(f"at('seed').value = {seed}; at('stop').value = {json.dumps(stop)}; at('go').click()")
    wait_for(lambda: not browser.run("at('go').disabled"), "the texts")
    assert browser.run("document.querySelector('.column .text').textContent") == "and god" + whole
    assert browser.run("document.querySelector('.column .end').textContent") == "the text ended here"
    browser.run("at('stop').value = ''")


def check(browser, url, picture):
    browser.call("Page.navigate", url=url)
    wait_for(lambda: browser.run("!at('key_label').hidden"), "the question for a key")
    browser.run("at('key').value = 'secret'; at('key').dispatchEvent(new Event('change'))")
    wait_for(lambda: browser.run("at('modes').children.length") == 3, "the modes")
    assert browser.run("at('model').textContent") == "run"

    browser.run("at('prompt').value = 'and god'; at('max_tokens').value = 40; at('seed').value = 7; at('go').click()")
    wait_for(lambda: not browser.run("at('go').disabled"), "the texts")
    for column in range(3):
        part = lambda selector: f"document.querySelectorAll('.column')[{column}].querySelectorAll('{selector}')"
        assert browser.run(part(".error") + "[0].textContent") == ""
        assert browser.run(part("b") + "[2].textContent") == "40"
        assert float(browser.run(part("b") + "[0].textContent")) > 0
        assert browser.run(part(".text span") + ".length") > 2, "all came at once"
        assert browser.run(part(".text") + "[0].textContent").startswith("and god")
        assert browser.run(part(".end") + "[0].textContent") == "max tokens reached"
    if picture:
        data = browser.call("Page.captureScreenshot", format="png")["data"]
        pathlib.Path(picture).write_bytes(base64.b64decode(data))

    check_text_held_back(browser, url)
    tick = "document.querySelectorAll('#modes input').forEach((box) => { box.checked = %s; });"
    browser.run(tick % "false" + "at('go').click()")
    assert "Tick a mode" in browser.run("at('columns').textContent")
    browser.run(tick % "true")
    browser.run("at('max_tokens').value = 100000; at('go').click()")
    wait_for(lambda: not browser.run("at('go').disabled"), "the refusal")
    assert "the context is 400 tokens" in browser.run("document.querySelector('.error').textContent")
    assert not browser.errors, browser.errors


with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, served_model(*sys.argv[1:3]) as url:
    browser = Browser(folder)
    try:
        check(browser, url, sys.argv[3] if len(sys.argv) > 3 else None)
    finally:
        browser.close()
print("the page does what it should")
