"""Tokens in and out: an OpenAI-compatible proxy in front of the replicas of every service.

A request's life, one module for each stage:

    app -> directory (who is this, what may it call) -> asks (what is asked) -> route.admit (rate)
        -> pool (a replica, or a place in the queue) -> attempts (one try at one replica)
        -> replies (names and usage rewritten) -> meter (tokens made durable) -> client

It moves bytes and decides nothing by itself: which replica, whether to admit and when to give up are
`route`'s rules; what exists is the Directory's; what was used goes to the Sink.
"""
