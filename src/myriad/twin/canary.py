"""Broken laws on purpose: each canary breaks one, so that a test can show that its checker sees it."""
from typing import NamedTuple
class Canary:
    name = ""
def named(name): raise KeyError
