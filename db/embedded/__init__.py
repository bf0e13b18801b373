"""A ReQL server over SQLite that the ordinary `rethinkdb` driver connects to.

One process, one data folder: for one-machine installs, for tests and for newcomers; big installs
run RethinkDB. Start it with `python -m db.embedded --data DIR`. It is reached over the wire
only: nothing imports it, and it imports nothing else of ours. README.md beside this file says how
it is laid out, what its limits are and how a term is added.
"""
