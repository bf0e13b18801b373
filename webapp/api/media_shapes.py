"""What clients send about media, and what they are answered. See requests.py and answers.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from db.media_states import MediaAction, MediaCondition
from db.rowcheck import SHA256, Description, Name, Slug
from db.urls import URL_MAX
from webapp.api.answers import Answer, Failure, RowProblem, Spec, Task, Wish
from webapp.api.requests import Allowed, Body

FileName = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f<>/\\]*$")]


class NewMediumSource(Body):
    """Either `url` (and the file's SHA-256, if known), or `upload` with the file's size."""

    url: Annotated[str, StringConstraints(max_length=URL_MAX)] | None = None
    sha256: Annotated[str, StringConstraints(pattern=SHA256)] | None = None
    upload: bool = False
    size: Annotated[int, Field(gt=0, le=2**50)] | None = None
    file: FileName | None = None

    @model_validator(mode="after")
    def one_kind(self) -> NewMediumSource:
        if bool(self.url) == self.upload:
            raise ValueError("give either `url`, or `upload` with `size`")
        if self.upload and self.size is None:
            raise ValueError("say the size of the file that is to be uploaded")
        return self


class NewMedium(Body):
    name: Name
    kind: Literal["iso", "floppy", "disk"] = "iso"
    description: Description = ""
    pool: Slug = "default"
    source: NewMediumSource
    allowed: Allowed | None = None

    def as_fields(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True, exclude_defaults=True) | {
            "kind": self.kind,
            "source": self.source.model_dump(exclude_none=True, exclude_defaults=True),
            **({"allowed": self.allowed.model_dump()} if self.allowed else {}),
        }


class WishedMedium(Body):
    state: Literal["available", "absent", "deleted"]


class ChangeMedium(Body):
    """Either `desired`, or `name`, `description` and `allowed`."""

    desired: WishedMedium | None = None
    name: Name | None = None
    description: Description | None = None
    allowed: Allowed | None = None

    @model_validator(mode="after")
    def one_kind(self) -> ChangeMedium:
        given = self.model_fields_set
        if not given or any(getattr(self, name) is None for name in given):
            raise ValueError("give something to change, not null")
        if "desired" in given and len(given) > 1:
            raise ValueError("give `desired` alone")
        return self


class MediumSource(Answer):
    url: str | None = Field(description="Without name, password and query")
    sha256: str | None
    upload: bool
    size: int | float | None
    file: str | None


class MediumActivity(Answer):
    name: str
    step: str
    deadline: str | None


class Progress(Answer):
    percent: float | None
    bytes: int | float | None
    total_bytes: int | float | None
    speed_bytes_s: int | float | None
    eta_s: int | float | None


class MediumHardware(Answer):
    """What the description (OVF) in an OVA states; null where it does not, or not sensibly."""

    name: str | None
    vcpus: int | None
    memory_mib: int | None
    firmware: str | None
    os: str | None = Field(description="In the words of the description")
    controller: str | None = Field(description="The first disk's")
    disks: int = Field(description="That an import takes")
    notes: list[str] = Field(description="What was left out, and why")
    summary: str


class ImportDefaults(Answer):
    vcpus: int | None
    memory_mib: int | None
    firmware: str | None
    os: str | None = Field(description="A system profile's id")
    disk_bus: str | None


class ObservedMedium(Answer):
    state: str
    activity: MediumActivity | None
    progress: Progress | None
    size: int | float | None
    sha256: str | None
    format: str | None
    hardware: MediumHardware | None
    reason: str | None
    message: str | None
    failure: Failure | None
    at: str | None
    path: str | None = None
    hypervisor: str | None = None


class CatalogueEntryId(Answer):
    id: str
    version: str


class Medium(Answer):
    id: str
    name: str
    description: str
    kind: str
    user: str
    group: str
    category: str
    pool: str
    created_at: str | None
    source: MediumSource
    shared: bool
    allowed: dict[str, Any] | None = None
    catalogue: CatalogueEntryId | None
    desired: Wish
    observed: ObservedMedium
    condition: MediaCondition
    is_ready: bool
    can_save: bool = Field(description="Its file may be brought here and saved")
    can_import: bool
    import_defaults: ImportDefaults = Field(description="For an import that leaves them out")
    remedy: str | None
    actions: list[MediaAction]
    problem: RowProblem | None


class Media(Answer):
    items: list[Medium]


class MediumFile(Answer):
    ready: bool = Field(description="It is at `url` now")
    url: str = Field(description="Path on this server")
    task: Task | None = Field(description="What brings it, where it is not here yet")


class UploadProgress(Answer):
    offset: int
    size: int


class OsProfile(Answer):
    id: str
    name: str
    family: str
    rank: int | float
    size_gib: int | float
    drivers: str = Field(description="A word in the name of the image wanted in a second drive")
    spec: Spec


class OsProfiles(Answer):
    items: list[OsProfile]


class AllowedNetworks(Body):
    allow: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=64)]], Field(max_length=100)
    ]


class AllowedSources(Answer):
    allow: list[str] = Field(description="Networks inside that media may be fetched from")
