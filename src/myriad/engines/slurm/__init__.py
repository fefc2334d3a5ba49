"""An existing Slurm cluster as a body: Slurm starts the gangs and knows the nodes, Myriad decides.

    SlurmEngine ── sbatch, scancel, scontrol, squeue ──> slurmctld ──> slurmd ──> member ──> ranks
         └──────────── the shared folder: plans and stops out, what happened in ─────────┘

On every node of a gang one `member` runs as a Slurm task. It and the engine meet in files of the folder
that all nodes share, so the control plane, slurmctld and slurmd may each come and go meanwhile.
"""
