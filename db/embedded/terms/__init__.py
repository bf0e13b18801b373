"""The terms of the language, one module per topic; importing this package fills the registry."""

from db.embedded.terms import (
    control,
    documents,
    scalars,
    tables,
    transforms,
    unsupported,
)

__all__ = ["control", "documents", "scalars", "tables", "transforms", "unsupported"]
