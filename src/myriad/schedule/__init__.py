"""Who runs next, and where. Reads a view of the site, returns decisions, never writes.

The stages, in the order they run: `order` (the queue) -> `quota` (may the tenant hold it) -> `place`
(which nodes) -> `backfill` (would it delay the one in front) -> `plan` (the cycle) ; `spares` keeps hot
spares; `control.views.explain` asks this same cycle why something waits.
"""
