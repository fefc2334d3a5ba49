"""What is asked of Slurm, and its answers: programs, batch scripts, texts, one look at everything."""
