"""The engine: follows the database and makes the hypervisors match. Plain threads, never gevent
(libvirt blocks).
"""
