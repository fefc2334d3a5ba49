"""Myriad: the control plane of a very large AI cluster, and its twin on one machine."""
