"""A real Slurm on this machine: munged, slurmctld and a slurmd for each node, all on loopback.

`make slurm-up` is `python -m tools.slurm up`; tests/slurm and the benchmarks use the same `Cluster`.
"""
