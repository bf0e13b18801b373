"""The blueprint all pages are in, and their addresses' common refusals."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("pages", __name__)
