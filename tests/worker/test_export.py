"""The exported folder is an ordinary Hugging Face Llama: same logits, same tokenizer, served as it is."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from myriad.engines.common import ports
from myriad.kernel.errors import UserError
from myriad.worker.recipes import serve
from tests.worker.conftest import TINY, Gang

ZYGOTE = Path(__file__).with_name("transformers_zygote.py")


class Peer(NamedTuple):
    """Transformers beside an exported model."""

    model: Path
    port: int
    process: "subprocess.Popen[str]"
    found: dict[str, Any]  # what it says of itself and of the models


@pytest.fixture(scope="module")
def peer(gang: Gang, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """One start of transformers (seconds) for every test here."""
    jobs = [tmp_path_factory.mktemp(name) for name in ("tied", "untied")]
    for job, tied in zip(jobs, (True, False), strict=True):
        model = TINY["model"] | {"tied_embeddings": tied, "rope_theta": 500.0}
        assert gang(job, world=2, steps=3, model=model)["codes"] == [0, 0]
    port = ports.free(set())
    with subprocess.Popen(
        [sys.executable, str(ZYGOTE), str(port), *map(str, jobs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdin and process.stdout
        found = json.loads(process.stdout.readline())
        yield Peer(jobs[0] / "output" / "model", port, process, found)
        process.stdin.close()
        assert process.wait(timeout=30) == 0


def test_transformers_gives_the_same_logits(peer: Peer) -> None:
    assert peer.found["threads"] == 1, "a parent with threads must not fork"
    for compared in peer.found["compared"]:
        assert compared["difference"] < 1e-4
        assert compared["architecture"] == "LlamaForCausalLM"
        assert compared["round_trip"] == "<|startoftext|>def f(é):\n\treturn 1"
        assert compared["chat"] == "<|startoftext|>import os\ndef f("


def test_the_engine_serves_it_streaming(peer: Peer) -> None:
    wait_until_healthy(peer.process, serve.health_url("transformers", peer.port))
    name = serve.upstream_model_name("transformers", peer.model, "tiny")
    body = {"model": name, "stream": True, "max_tokens": 5}
    said = {"messages": [{"role": "user", "content": "def f("}]}
    for path, asked in (("chat/completions", said), ("completions", {"prompt": "def f("})):
        last = streamed(f"http://127.0.0.1:{peer.port}/v1/{path}", body | asked)[-1]
        assert last["choices"][0]["finish_reason"] in ("length", "stop")
        assert 1 <= last["usage"]["completion_tokens"] <= 5


def wait_until_healthy(server: "subprocess.Popen[str]", url: str) -> None:
    while server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            pass
    raise AssertionError("the server ended")


def streamed(url: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return [json.loads(line[6:]) for line in answer if line.startswith(b"data: ")]


def test_what_is_missing_is_named(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    model = peer.model
    with pytest.raises(UserError, match=r"there is no `sglang` here.*Install it: pip install"):
        serve.command_for("sglang", model, "tiny", "127.0.0.1", 1)
    with pytest.raises(UserError, match="Known: transformers, vllm, sglang"):
        serve.health_url("llamacpp", 1)
    with pytest.raises(UserError, match=r"no config\.json"):
        serve.command_for("transformers", model.parent, "tiny", "127.0.0.1", 1)
    monkeypatch.delenv("MYRIAD_SERVICE_PORT", raising=False)
    with pytest.raises(UserError, match="MYRIAD_SERVICE_PORT"):
        serve.main({"model": str(model), "name": "tiny"})
    with pytest.raises(UserError, match="enginez"):
        serve.main({"model": str(model), "name": "tiny", "enginez": "vllm"})


def test_each_engine_gets_the_model_under_the_name_it_knows(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = peer.model
    for engine in ("vllm", "sglang"):
        program = tmp_path / engine
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for engine in ("vllm", "sglang"):
        argv = serve.command_for(engine, model, "tiny", "127.0.0.1", 8000).argv
        assert argv[argv.index("--served-model-name") + 1] == "tiny"
        assert argv[argv.index("--port") + 1] == "8000"
        assert serve.upstream_model_name(engine, model, "tiny") == "tiny"
    argv = serve.command_for("transformers", model, "tiny", "127.0.0.1", 8000).argv
    assert serve.upstream_model_name("transformers", model, "tiny") == argv[2]
