"""Loops beside the reconcilers: what is sampled while guests run, and what belongs to nobody. They
change nothing on any host.
"""
