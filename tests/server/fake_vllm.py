"""Stands in for `vllm serve MODEL --port … --served-model-name …`: a replica without a model.

It answers five tokens to every prompt and says which process it is. A prompt of `hang` stops it from
answering anything ever again, as a wedged engine does; one of `think` takes it a second.
"""

import argparse
import asyncio
import os
import time

from aiohttp import web


async def _chat(request: web.Request) -> web.Response:
    asked = await request.json()
    said = asked["messages"][-1]["content"]
    if said == "hang":
        time.sleep(3600)
    if said == "think":
        await asyncio.sleep(1)
    return web.json_response(
        {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": asked["model"],
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": f"pid {os.getpid()}"},
                }
            ],
            "usage": {"prompt_tokens": len(said), "completion_tokens": 5, "total_tokens": len(said) + 5},
        }
    )


async def _health(_: web.Request) -> web.Response:
    return web.Response()


async def _main(port: int) -> None:
    app = web.Application()
    app.router.add_get("/health", _health)
    app.router.add_post("/v1/chat/completions", _chat)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("serving on", port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(_main(parser.parse_known_args()[0].port))
