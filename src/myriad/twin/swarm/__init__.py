"""Small sites and their troubles, drawn from seeds: shapes, rates and chances are others with each."""
