"""Journals: where facts are kept. `memory` for tests and the twin, `sqlite` for one control plane.

Both implement `kernel.ports.Journal`. The server appends a step's facts here before anyone is told.
"""
