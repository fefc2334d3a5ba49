"""The laws of the twin, one file each, kept outside the code that they check.

A checker reads the facts for itself (`reading`) and looks at the world's truth; `watched` runs all of them.
"""
