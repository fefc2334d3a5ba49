"""Is this machine fit for a control plane? Looks that need none to run; `myriad doctor` shows what they find.

`machine` (packages, limits, devices), `folders` (home and data: rights, room, disk, clock), `around`
(journal, ports, database, the control plane that runs). Engines look for themselves: `engines.slurm.health`.
"""
