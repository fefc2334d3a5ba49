"""The gateway's own limits, those that are about bytes and sockets; what is about routing is route.policy."""

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds are floats here: they go straight to asyncio."""

    #: Until a replica's socket accepts.
    connect_s: float = 2.0
    #: Until a stream brings its first token. Long enough for a long prompt behind others.
    first_byte_s: float = 60.0
    #: Between two pieces of a stream, from the replica and to the client alike.
    stall_s: float = 60.0
    #: Until an answer that is not streamed is complete.
    answer_s: float = 600.0
    #: A crash loses at most the tokens a stream brought in this time.
    meter_every_s: float = 1.0
    #: How often a service's load is told, when it changed.
    load_every_s: float = 1.0
    #: How long requests in progress may go on when the gateway closes.
    close_s: float = 5.0
    #: An idle connection to a replica is closed after this. Below the 5 s after which uvicorn, under
    #: most engines, closes it: a request sent into a closing connection would count as a failure.
    keepalive_s: float = 2.0
    #: Largest request.
    body_bytes_max: int = 16 * 2**20
