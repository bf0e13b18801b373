"""What a person can do, one module a noun: permission, judgement, then one write through
`db.desired`.

Views and API call these with a Person and plain values and get payloads back; refusals are raised
as `webapp.errors.Problem` or the kernel's NotFound and Conflict. Nothing here knows about HTTP.
"""
