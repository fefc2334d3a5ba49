"""A server that answers like the engines do, on a real socket: how they stream, count, end and fail.

In a test it is an object whose every token can be held back; as a program it is a process to be killed,
whose streams stand still after SIGUSR1.
"""

import argparse
import asyncio
import json
import signal
from collections.abc import Callable
from typing import Any

from aiohttp import web


class Upstream:
    """`style` is how it ends a stream: vllm (usage chunk, [DONE]), transformers (usage with the finish
    reason, no [DONE]), bare (no usage at all)."""

    def __init__(self, style: str = "vllm", tokens: int = 5, pause_s: float = 0.0) -> None:
        self.style, self.tokens, self.pause_s = style, tokens, pause_s
        self.asked: list[dict[str, Any]] = []
        self.sent = 0  # content tokens written
        self.cancelled = asyncio.Event()
        #: Each token waits for a permit when set.
        self.permits: asyncio.Semaphore | None = None
        #: HTTP status to refuse with.
        self.status = 200
        self.refusal: Any = {"error": {"message": "no"}}
        #: After so many tokens, do this to the response instead of going on.
        self.breaks_at: int | None = None
        self.breaks: Callable[[web.StreamResponse, web.Request], Any] = _reset
        #: Every stream brings its first token, and stands still in its midst.
        self.stands = False
        self.url = ""

    async def __aenter__(self) -> "Upstream":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.cleanup()

    async def start(self, port: int = 0) -> str:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._completion)
        self.runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"
        return self.url

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, lambda text: {"delta": {"content": text}}, "chat.completion.chunk")

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, lambda text: {"text": text}, "text_completion")

    async def _serve(
        self, request: web.Request, says: Callable[[str], dict[str, Any]], kind: str
    ) -> web.StreamResponse:
        asked = await request.json()
        self.asked.append(asked)
        if self.status != 200:
            return web.json_response(self.refusal, status=self.status)
        prompt = asked.get("prompt") or "".join(message["content"] for message in asked["messages"])
        base = {"id": "x-1", "object": kind, "created": 1, "model": asked["model"] + "@main"}
        try:
            if not asked.get("stream"):
                return await self._whole(request, base, prompt, kind)
            return await self._stream(request, asked, base, prompt, says)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def _token(self, response: web.StreamResponse, request: web.Request, number: int) -> bool:
        if self.breaks_at == number:
            await self.breaks(response, request)
            return False
        if self.stands and number:
            await asyncio.Event().wait()
        if self.permits:
            await self.permits.acquire()
        if self.pause_s:
            await asyncio.sleep(self.pause_s)
        self.sent += 1
        return True

    def _usage(self, prompt: str, tokens: int) -> dict[str, int]:
        """A prompt of n characters is n tokens here."""
        count = len(prompt)
        return {"prompt_tokens": count, "completion_tokens": tokens, "total_tokens": count + tokens}

    async def _whole(
        self, request: web.Request, base: dict[str, Any], prompt: str, kind: str
    ) -> web.StreamResponse:
        answer = web.StreamResponse()
        for number in range(self.tokens):
            if not await self._token(answer, request, number):
                return answer
        text = "".join(f"t{number} " for number in range(self.tokens))
        key = (
            {"text": text}
            if kind == "text_completion"
            else {"message": {"role": "assistant", "content": text}}
        )
        tree = {**base, "object": kind.removesuffix(".chunk")}
        tree["choices"] = [{"index": 0, "finish_reason": "stop", **key}]
        if self.style != "bare":
            tree["usage"] = self._usage(prompt, self.tokens)
        return web.json_response(tree)

    async def _stream(
        self,
        request: web.Request,
        asked: dict[str, Any],
        base: dict[str, Any],
        prompt: str,
        says: Callable[[str], dict[str, Any]],
    ) -> web.StreamResponse:
        options = asked.get("stream_options") or {}
        running = self.style == "vllm" and options.get("continuous_usage_stats")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)

        async def send(**more: Any) -> None:
            await response.write(b"data: " + json.dumps({**base, **more}).encode() + b"\n\n")

        if base["object"] == "chat.completion.chunk":
            await send(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}])
        for number in range(self.tokens):
            if not await self._token(response, request, number):
                return response
            usage = {"usage": self._usage(prompt, number + 1)} if running else {}
            await send(choices=[{"index": 0, "finish_reason": None, **says(f"t{number} ")}], **usage)
        await self._finish(response, send, says, self._usage(prompt, self.tokens), options)
        return response

    async def _finish(self, response: Any, send: Any, says: Any, usage: Any, options: Any) -> None:
        last = {"index": 0, "finish_reason": "stop", **says("")}
        if self.style == "transformers":
            await send(choices=[last], usage=usage)
            return
        await send(choices=[last])
        if self.style == "vllm" and options.get("include_usage"):
            await send(choices=[], usage=usage)
        await response.write(b"data: [DONE]\n\n")


async def _reset(_: web.StreamResponse, request: web.Request) -> None:
    """The connection breaks, as when the process is killed."""
    assert request.transport is not None
    request.transport.abort()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    upstream = Upstream("vllm", given.tokens, given.pause)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, setattr, upstream, "stands", True)
    print(await upstream.start(given.port), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
