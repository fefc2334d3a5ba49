"""Small sites and their troubles, drawn from seeds: every shape, rate and chance is another with each seed."""
