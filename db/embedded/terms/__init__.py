"""The terms of the language, one module per topic; importing this package fills the registry."""

from db.embedded.terms import (
    admin,
    changes,
    control,
    documents,
    indexes,
    scalars,
    tables,
    times,
    transforms,
    unsupported,
    writes,
)

__all__ = [
    "admin",
    "changes",
    "control",
    "documents",
    "indexes",
    "scalars",
    "tables",
    "times",
    "transforms",
    "unsupported",
    "writes",
]
