"""Facts -> where every chip-nanosecond went, what it cost, and how good the promises were.

A fold beside `control`'s: the server gives it each fact as it becomes durable, the twin likewise, and an
old journal gives the same books again. Definitions and formulas: docs/ledger.md.
"""
