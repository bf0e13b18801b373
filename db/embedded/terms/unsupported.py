"""Terms of the language this database leaves out, with the reason its users read.

Each answers a ReqlQueryLogicError that names it. They keep their arity so that a driver's
mistake is told as RethinkDB would tell it.
"""

from __future__ import annotations

from db.embedded.registry import unsupported

_NETWORK = "the server makes no connections of its own."
_SCRIPTS = "the server runs no JavaScript."
_GEOMETRY = "it has no geometry types or indexes."

unsupported("HTTP", 153, _NETWORK, 1, 1)
unsupported("JAVASCRIPT", 11, _SCRIPTS, 1, 1)

for _name, _code, _fewest, _most in (
    ("GEOJSON", 157, 1, 1),
    ("TO_GEOJSON", 158, 1, 1),
    ("POINT", 159, 2, 2),
    ("LINE", 160, 2, None),
    ("POLYGON", 161, 3, None),
    ("DISTANCE", 162, 2, 2),
    ("INTERSECTS", 163, 2, 2),
    ("INCLUDES", 164, 2, 2),
    ("CIRCLE", 165, 2, 2),
    ("GET_INTERSECTING", 166, 2, 2),
    ("FILL", 167, 1, 1),
    ("GET_NEAREST", 168, 2, 2),
    ("POLYGON_SUB", 171, 2, 2),
):
    unsupported(_name, _code, _GEOMETRY, _fewest, _most)
