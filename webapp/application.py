"""Puts the parts of the web side together into one Flask application.

Sessions and CSRF before every request, the API's operations, the pages, Socket.IO, security headers
after. It starts nothing: `server` starts the feeds and the web server, so that tests get the same
application without them. Reached as `webapp.create_app`.
"""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from db.connection import Database
from webapp import api, errors, headers, realtime, views
from webapp.auth import csrf, sessions
from webapp.auth.guards import current_user
from webapp.extensions import Backend
from webapp.metrics import Metrics
from webapp.services.health import LeaseWatch
from webapp.settings import WebSettings
from webapp.viewers import portal


def create_app(settings: WebSettings, database: Database) -> Flask:
    app = Flask("webapp")
    app.config["MAX_CONTENT_LENGTH"] = settings.body_max_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    key = sessions.read_or_make_key(settings.session_key_path)
    lease_watch = LeaseWatch()
    app.extensions["isard"] = Backend(settings, database, key, lease_watch)
    app.extensions["isard_metrics"] = Metrics(database, lease_watch)
    errors.install_handlers(app)
    headers.install(app)
    sessions.install(app, settings, key)
    csrf.install(app)
    app.context_processor(lambda: {"current_user": current_user})
    api.register(app)
    views.register(app)
    realtime.register(app)
    if settings.viewer_path:
        app.register_blueprint(portal.blueprint)
    if settings.trusted_proxies:
        count = settings.trusted_proxies
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=count, x_proto=count, x_host=count, x_port=count
        )
    return app
