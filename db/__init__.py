"""The shared kernel: what webapp, engine and scripts agree on.

States, documents, schema and the two doors (`desired` for wishes, `observed` for what is). It
imports nothing else of ours. The only thing webapp and engine share is the database this package
speaks to.
"""
