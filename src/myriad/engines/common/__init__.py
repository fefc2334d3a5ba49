"""What engines of real processes share: where results lie, what workers say, who lives on a machine."""
