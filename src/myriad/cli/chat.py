"""`myriad chat`: talks to a model through the gateway, as any OpenAI client would."""

import json
from collections.abc import Iterator
from typing import Any

import click
import httpx

from myriad.cli.context import Context, given
from myriad.kernel.errors import UserError

Message = dict[str, str]


@click.command()
@click.argument("model")
@click.argument("prompt", required=False)
@click.option("--max-tokens", default=64, show_default=True, help="Stop after so many tokens.")
@click.option(
    "--temperature", default=None, type=float, help="0 is the most likely text; the model's own by default."
)
@given
def chat(
    context: Context, model: str, prompt: str | None, max_tokens: int, temperature: float | None
) -> None:
    """Talk to a model through the gateway.

    Sends PROMPT and prints the answer as it comes; without PROMPT, a conversation.

    \b
    Example:
      myriad chat tiny-coder "def fibonacci("
    """
    options: dict[str, Any] = {"model": model, "max_tokens": max_tokens}
    if temperature is not None:
        options["temperature"] = temperature
    with (
        context.client() as client,
        httpx.Client(
            base_url=context.gateway(client),
            headers={"Authorization": f"Bearer {client.key}"},
            timeout=httpx.Timeout(300.0, connect=10.0),
            trust_env=False,
        ) as gateway,
    ):
        if prompt is not None:
            _say(gateway, options, [{"role": "user", "content": prompt}])
        else:
            _converse(gateway, options)


def _converse(gateway: httpx.Client, options: dict[str, Any]) -> None:
    messages: list[Message] = []
    click.echo(f"Talking to {options['model']}. An empty line or Ctrl-D ends it.")
    while True:
        try:
            text = input("> ").strip()
        except EOFError:
            click.echo()
            return
        if not text:
            return
        messages.append({"role": "user", "content": text})
        messages.append({"role": "assistant", "content": _say(gateway, options, messages)})


def _say(gateway: httpx.Client, options: dict[str, Any], messages: list[Message]) -> str:
    """Print the answer piece by piece; the whole of it."""
    answer = ""
    for piece in pieces(gateway, {**options, "messages": messages, "stream": True}):
        click.echo(piece, nl=False)
        answer += piece
    click.echo()
    return answer


def pieces(gateway: httpx.Client, body: dict[str, Any]) -> Iterator[str]:
    """The text of a streamed chat completion. Raises UserError with what the gateway says."""
    try:
        with gateway.stream("POST", "/v1/chat/completions", json=body) as answer:
            if answer.is_error:
                raise _refused(answer.read(), answer.status_code)
            for line in answer.iter_lines():
                data = line.removeprefix("data: ")
                if data in (line, "[DONE]"):
                    continue
                event = json.loads(data)
                if "error" in event:
                    raise _refused(data.encode(), 502)
                for choice in event.get("choices", ()):
                    yield choice["delta"].get("content") or ""
    except httpx.TransportError as error:
        raise UserError(
            f"does not answer: {error or type(error).__name__}",
            field="gateway",
            value=str(gateway.base_url),
            remedy="See `myriad site` for its address, or start it with `myriad up`",
        ) from None


def _refused(body: bytes, status: int) -> UserError:
    try:
        error = json.loads(body)["error"]
        return UserError(error["message"], field=error.get("param") or "", status=status)
    except (ValueError, KeyError, TypeError):
        return UserError(f"answered {status}: {body[:200].decode(errors='replace')}", field="gateway")
