"""Who is asking, and what they may do.

`permissions` decides (pure), `guards` are what views and API put before their functions,
`sessions`, `tokens` and `csrf` tell who a request comes from, `passwords` and `throttle` stand at
the login.
"""
