"""What time asks for, done by one web side however many there are.

    holder.py   holds the lease `clock` and calls the duties while it has it
    backups.py  a duty: backups when they are due, tried, and deleted when they are too old

Several web sides may run: one holds the lease, the others stand by and take over (db/lease.py).
"""
