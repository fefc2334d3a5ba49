"""How long it takes: step time and run time of work on chips, each answer with its basis and interval."""
