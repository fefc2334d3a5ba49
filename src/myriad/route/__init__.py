"""Routing decisions: which replica takes a request, whether it may come in, how many replicas to have.

Pure functions and small state over integer nanoseconds: no clock, no I/O. `gateway` asks the first two
for every request; `control` asks the third when the gateway has observed load.
"""
