"""The site file, from what Slurm says of its cluster."""
