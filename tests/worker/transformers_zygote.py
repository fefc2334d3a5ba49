"""A parent that preloads transformers once, compares exported models with ours, and forks a server.

Arguments: a port, then the job folders. Prints one JSON line of comparisons, then serves the first model
on the port until stdin closes.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from myriad.worker import run
from myriad.worker.recipes.pretrain import config as recipe
from myriad.worker.recipes.pretrain.model import Llama, hugging_face_name


def main(port: str, *folders: str) -> None:
    run.preload("serve")
    threads = len(os.listdir("/proc/self/task"))
    jobs = [Path(folder) for folder in folders]
    server = forked_server(port, jobs[0])
    print(json.dumps({"threads": threads, "compared": [compared(job) for job in jobs]}), flush=True)
    sys.stdin.read()
    os.kill(server, signal.SIGTERM)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(server, 0)[1]) not in (0, 143, -15))


def forked_server(port: str, job: Path) -> int:
    (job / "serve.json").write_text(
        json.dumps({"model": str(job / "output" / "model"), "name": "tiny", "device": "cpu"})
    )
    pid = os.fork()
    if pid == 0:
        os.environ["MYRIAD_SERVICE_PORT"] = port
        log = os.open(job / "serve.log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        run.exit_with(["serve", "--config", str(job / "serve.json")])
    return pid


def compared(job: Path) -> dict[str, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config = recipe.Config.of(json.loads((job / "config.json").read_text()))
    exported = job / "output" / "model"
    theirs = AutoModelForCausalLM.from_pretrained(exported)
    ours = Llama(config.model)
    weights = load_file(exported / "model.safetensors")
    ours.load_state_dict({name: weights[hugging_face_name(name)] for name, _ in ours.named_parameters()})
    tokens = torch.randint(config.model.vocab, (2, config.model.context))
    with torch.no_grad():
        difference = (ours(tokens) - theirs(tokens).logits).abs().max().item()
    tokenizer = AutoTokenizer.from_pretrained(exported)
    chat = [{"role": "system", "content": "import os\n"}, {"role": "user", "content": "def f("}]
    asked = tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"]
    return {
        "difference": difference,
        "architecture": type(theirs).__name__,
        "round_trip": tokenizer.decode(tokenizer("def f(é):\n\treturn 1").input_ids),
        "chat": tokenizer.decode(asked),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
