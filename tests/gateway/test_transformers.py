"""The gateway before a real engine: transformers' own server with a Llama that was just made up."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import openai
import pytest

from myriad.worker.recipes import serve
from tests.gateway.site import CODER, ServiceView, replica, running

pytestmark = pytest.mark.slow  # a minute: two processes import torch and transformers

MAKE = """
import sys, torch
from tokenizers import Tokenizer, models, pre_tokenizers, decoders
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
# ASCII alone: the server keeps back the unfinished UTF-8 that random bytes would end with
alphabet = [*map(chr, range(33, 127)), "\u0120", "<eos>"]
tokens = Tokenizer(models.BPE({token: n for n, token in enumerate(alphabet)}, []))
tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokens.decoder = decoders.ByteLevel()
fast = PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<eos>", pad_token="<eos>")
fast.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
fast.save_pretrained(sys.argv[1])
torch.manual_seed(7)
shape = dict(hidden_size=64, num_hidden_layers=2, intermediate_size=128, num_attention_heads=2)
config = LlamaConfig(vocab_size=len(fast), num_key_value_heads=1, eos_token_id=None, **shape)
LlamaForCausalLM(config).save_pretrained(sys.argv[1])
"""


@asynccontextmanager
async def engine(model: Path, log: Path) -> AsyncIterator[tuple[Process, str]]:
    """A server that answers its health check."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = serve.command_for("transformers", model, "coder", "127.0.0.1", port, device="cpu")
    with log.open("wb") as out:
        child = await asyncio.create_subprocess_exec(
            *command.argv, env={**os.environ, **command.env}, stdout=out, stderr=out
        )
    try:
        async with asyncio.timeout(90), aiohttp.ClientSession() as session:
            while not await _healthy(session, serve.health_url("transformers", port)):
                assert child.returncode is None, log.read_text()
                await asyncio.sleep(0.2)
        yield child, f"http://127.0.0.1:{port}"
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def _healthy(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


def test_chat_completions_counts_and_a_kill(tmp_path: Path) -> None:
    async def play() -> None:
        model = tmp_path / "model"
        maker = await asyncio.create_subprocess_exec(sys.executable, "-c", MAKE, str(model))
        assert await maker.wait() == 0
        async with (
            engine(model, tmp_path / "1.log") as (victim, first),
            engine(model, tmp_path / "2.log") as (_, second),
        ):
            upstream = serve.upstream_model_name("transformers", model, "coder")
            view = ServiceView(
                id=CODER,
                name="coder",
                tenant="acme",
                engine="transformers",
                replicas=(replica(1, first, upstream), replica(2, second, upstream)),
            )
            async with running(view) as site:
                client = openai.AsyncOpenAI(base_url=site.url + "/v1", api_key="acme-key", max_retries=0)
                async with client:
                    await _ask(client)
                    finals = await site.sink.finals(3)
                    assert [each.prompt_tokens for each in finals] == [8, 8, 8]
                    assert [each.completion_tokens for each in finals] == [12, 12, 12]
                    await _killed(client, victim)
                    assert site.sink.failed[0][0] == "coder-1.1"

    asyncio.run(play())


async def _ask(client: openai.AsyncOpenAI) -> None:
    """The three ways to ask; a prompt of 8 bytes is 8 tokens."""
    talk = [{"role": "user", "content": "def fib("}]
    whole = await client.chat.completions.create(model="coder", messages=talk, max_tokens=12, temperature=0)
    assert whole.model == "coder" and whole.usage and whole.usage.completion_tokens == 12
    chunks = [
        chunk
        async for chunk in await client.chat.completions.create(
            model="coder",
            messages=talk,
            max_tokens=12,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    ]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage and chunks[-1].usage.completion_tokens == 12 and not chunks[-1].choices
    plain = await client.completions.create(model="coder", prompt="def fib(", max_tokens=12, temperature=0)
    assert plain.choices[0].text == text and plain.model == "coder"


async def _killed(client: openai.AsyncOpenAI, victim: Process) -> None:
    streaming = asyncio.Event()

    async def one(number: int) -> None:
        pieces = 0
        try:
            async for chunk in await client.chat.completions.create(
                model="coder",
                messages=[{"role": "user", "content": f"{number}"}],
                max_tokens=150,
                stream=True,
            ):
                pieces += bool(chunk.choices and chunk.choices[0].delta.content)
                streaming.set()
        except openai.APIError:
            assert pieces, "a request that had streamed nothing failed"

    asks = [asyncio.create_task(one(number)) for number in range(12)]
    await streaming.wait()
    victim.send_signal(signal.SIGKILL)
    await asyncio.gather(*asks)
