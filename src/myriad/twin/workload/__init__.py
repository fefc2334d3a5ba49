"""What arrives at a simulated site: drawn from published shapes, or replayed from a trace."""
