"""Statistics over REST: thin, see `webapp.services.stats`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from webapp.api.answers import Answer
from webapp.api.operations import operation
from webapp.auth.permissions import Person
from webapp.services import stats


class WindowQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    window: Literal["10m", "24h", "30d"] = "10m"


class Stats(Answer):
    window: str
    step_s: int = Field(description="What one point stands for, in seconds")
    length_s: int
    metrics: list[str]
    points: list[list[int | float | None]] = Field(
        description="Seconds since 1970, then a value for each metric; oldest first"
    )


@operation(
    "GET",
    "/desktops/<desktop_id>/stats",
    tag="Desktops",
    summary="Read what it used",
    query=WindowQuery,
    answer=Stats,
)
def get_desktop_stats(user: Person, desktop_id: str, query: WindowQuery) -> dict[str, Any]:
    """Of the last ten minutes, day or 30 days. `cpu_percent`: 100 is one processor; `viewers`:
    connections to its screen. There are no points of the time it was off.
    """
    return stats.of_desktop(user, desktop_id, query.window)


@operation(
    "GET",
    "/hypervisors/<hypervisor_id>/stats",
    tag="Hypervisors",
    summary="Read what it used",
    who="admin",
    query=WindowQuery,
    answer=Stats,
)
def get_hypervisor_stats(user: Person, hypervisor_id: str, query: WindowQuery) -> dict[str, Any]:
    """`cpu_percent`: 100 is all processors. Disk, network and viewers are the sums over its
    desktops.
    """
    return stats.of_hypervisor(user, hypervisor_id, query.window)
