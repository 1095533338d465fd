import json
import os
import re
import signal
import subprocess
import time

from tests.running import ROOT, get

README = (ROOT / "README.md").read_text()


def test_the_first_screen_is_two_commands_and_a_curl_and_they_do_what_it_says() -> None:
    serve, test, curl, answer = re.findall(r"^    (\S.*)$", README, re.MULTILINE)[:4]
    assert (serve, test) == ("make serve", "make test")
    service = subprocess.Popen(serve.split(), cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_for("http://localhost:8081/readyz")
        result = subprocess.run(curl, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
        results = json.loads(result.stdout)["results"]
        said = re.search(r'"label":"(\w+)","score":([0-9.]+)', answer)
        assert said is not None
        assert (results[0]["label"], round(results[0]["score"], 2)) == (said[1], round(float(said[2]), 2))
    finally:
        os.killpg(service.pid, signal.SIGINT)
        log = service.communicate(timeout=30)[0]
    assert curl in log, "the line that the start prints is the README's"


def wait_for(url: str) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if get(url)[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"{url} did not answer")


def test_every_path_that_the_readme_names_is_there() -> None:
    for path in re.findall(r"\]\(((?:docs|examples|conf|src|tests|bench)/[^)#]+)\)", README):
        assert (ROOT / path).exists(), path
