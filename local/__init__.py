"""The whole product on one machine without Docker: what `make run`, `make stop` and their like
do.

    setup.sh       system packages, virtual environment, front-end: before the rest can run
    settings.py    where things are, from the environment
    prepare.py     folders, keys, certificates, the demo desktop
    plan.py        which processes, in which order: a table
    seed.py        the first rows in the database
    supervisor.py  the small detached process that keeps them
    identity.py    pid files that never lie
    commands.py    start, stop, status, logs, password, purge

Everything lasting is below $ISARD_DATA; nothing else on the machine is touched. The hypervisor is
`hyper_image/` in namespaces of its own, reached over SSH like any other.
"""
