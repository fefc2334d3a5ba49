"""The journal in PostgreSQL, and the one seat from which it is written: for a leader and its standbys.

`connection` (address, troubles) → `schema` (tables, migrations) → `seat` (who leads) → `journal`. Why, what
is promised and what it costs: docs/decisions/0012-postgresql.md.
"""
