"""The container stack's own programs, run in the image of isard-app: what a start of
docker-compose.yml needs that is not a service.

    prepare.py  as root, once before everything else: folders, keys, secrets, certificates below
                /opt/isard, each owned by whoever needs it and nobody else
    seed.py     before each start of the web side: the database's schema (after a backup, where it
                is older), and once the first administrator, hypervisor and template
    layout.py   where things are: outside, below /opt/isard, and inside the containers

`make run` has the same things in one folder of its own (`local/prepare.py`, `local/seed.py`);
here every container is shown only what it must see.
"""
