"""Tenants that are Unix users: who they are, what is theirs, whether it works."""
