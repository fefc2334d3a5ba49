"""What arrives at a simulated site: drawn from published shapes, or replayed from a trace.

`Workload` draws jobs from classes (config.py: the section of a scenario; shapes.py: its parts), `traces`
reads published job traces. Both are a `Source` of `Work` (work.py): tenants to create, arrivals in order of
time, and perhaps a closed loop. The way of a drawn job: draws.py (chance in blocks) -> columns.py (all that
chance decides) -> generator.py (specs, profiles, truth). moments.py has the same in closed form.
"""
