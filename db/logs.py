"""Structured logs: one line per event, fields in snake_case, the same in every process.

structlog renders; the standard library transports, so the lines of libraries look the same. Called
once by each `__main__`. Secrets never get here: nothing logs a row, a token or a command's input.
"""

from __future__ import annotations

import logging
import os
import sys

import structlog
from structlog.typing import EventDict


def configure(process: str) -> None:
    """Lines of `key=value` on stderr, or JSON lines when ISARD_LOG_FORMAT=json; level from
    ISARD_LOG_LEVEL.
    """
    level = logging.getLevelNamesMapping().get(
        os.environ.get("ISARD_LOG_LEVEL", "INFO").upper(), 20
    )

    def name_process(_logger: object, _method: str, event: EventDict) -> EventDict:
        # Not a context variable: threads and greenlets begin with an empty context.
        event["process"] = process
        return event

    shared: list[structlog.typing.Processor] = [
        name_process,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: structlog.typing.Processor
    if os.environ.get("ISARD_LOG_FORMAT") == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.processors.LogfmtRenderer(
            key_order=["timestamp", "level", "process", "event"], bool_as_flag=False
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("paramiko").setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
