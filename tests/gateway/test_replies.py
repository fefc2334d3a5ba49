"""However the network cuts a stream into pieces, the client gets the same events and the same count."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from myriad.gateway.replies import Stream

TEXTS = st.lists(st.text(max_size=12), max_size=8)


def _wire(texts: list[str], newline: bytes) -> bytes:
    chunks = [{"model": "m", "choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    chunks.append({"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    chunks.append({"model": "m", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9}})
    events = [b": ping", *(b"data: " + json.dumps(chunk).encode() for chunk in chunks), b"data:[DONE]"]
    return b"".join(event + newline * 2 for event in events)


@given(TEXTS, st.lists(st.integers(0, 2000), max_size=12), st.sampled_from([b"\n", b"\r\n"]))
def test_any_cut_gives_the_same(texts: list[str], cuts: list[int], newline: bytes) -> None:
    wire = _wire(texts, newline)
    at = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    stream = Stream("ours")
    sent = b"".join(stream.feed(wire[start:end]) for start, end in itertools.pairwise(at))
    trees = [json.loads(event.removeprefix(b"data: ")) for event in sent.split(b"\n\n")[:-1]]
    assert "".join(tree["choices"][0]["delta"].get("content", "") for tree in trees) == "".join(texts)
    assert {tree["model"] for tree in trees} == {"ours"} and all("usage" not in tree for tree in trees)
    assert stream.tally.pieces == sum(bool(text) for text in texts)
    assert (stream.tally.completion_tokens, stream.complete, stream.begun) == (9, True, any(texts))
    assert b'"usage":{"prompt_tokens"' in stream.end(wants_usage=True)
    assert stream.end(wants_usage=False) == b"data: [DONE]\n\n"


def test_what_cannot_be_passed_on_stops_the_stream_after_what_was_good() -> None:
    stream = Stream("ours")
    good = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    assert stream.feed(good + b"data: nonsense\n\n" + good).count(b"data:") == 1
    assert stream.tally.pieces == 1 and "nonsense" not in str(stream.trouble)
    assert "not a JSON object" in str(stream.trouble)


def test_an_engine_that_says_null_error_is_well() -> None:
    stream = Stream("ours")
    stream.feed(b'data: {"error":null,"choices":[{"text":"a"}],"usage":null}\n\n')
    assert stream.begun and not stream.trouble and stream.tally.usage is None
