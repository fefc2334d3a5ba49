"""Ready-made programs a job may name instead of a command: pre-train, serve, qualify a node."""
