"""The simulated world: virtual clock, event heap, seeded chance. The core that runs in it is the real one."""
