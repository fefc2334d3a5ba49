"""The brain: the only place state changes. No clock, no I/O, no randomness, no threads.

`core.Core.step(input)` asks the handlers (`on_intents`, `on_nodes`, `on_gangs`, `on_services`) and the
policies what follows, applies each fact (`apply`) and derives the orders (`orders`). `state` is what is
true, `invariants` what must always hold, `views` what others may read.
"""
