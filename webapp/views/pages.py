"""The blueprint all pages are in."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("pages", __name__)
