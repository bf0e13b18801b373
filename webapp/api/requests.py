"""What clients may send. Bounds are the kernel's (`db.rowcheck`), so a script and a request are
refused for the same things; unknown fields are refused by name, so a misspelt one is not ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from db.rowcheck import HOSTNAME, SLUG, USER_NAME, Description, Name, Slug
from db.sentences import pattern

LoginName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Password = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Icon = Annotated[
    str,
    StringConstraints(
        pattern=pattern(r"^[a-z0-9-]{0,40}$", "use small letters, digits and dashes, up to 40")
    ),
]
Port = Annotated[int, Field(ge=1, le=65535)]
Host = Annotated[str, StringConstraints(pattern=HOSTNAME)]
HostKey = Annotated[
    str,
    StringConstraints(
        pattern=pattern(
            r"^[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\x00-\x1f]*)?$",
            "give a public key in one line, as in ssh_host_ed25519_key.pub",
        ),
        max_length=2000,
    ),
]
ID_MAX, IDS_MAX = 64, 1000
Id = Annotated[str, StringConstraints(min_length=1, max_length=ID_MAX)]
SomeIds = Literal[False] | Annotated[list[Id], Field(max_length=IDS_MAX)]
BULK_MAX = 200
"""More desktops than this are several requests."""


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Login(Body):
    username: LoginName
    password: Password


class ChangePassword(Body):
    current_password: Password
    new_password: Password


class NewDesktopOrigin(Body):
    """Either `template`, or `media` (an ISO image to install from, or a disk image) with the size
    of the disk.
    """

    template: Id | None = None
    media: Id | None = None
    size_gib: Annotated[float, Field(gt=0, le=65536)] | None = None

    @model_validator(mode="after")
    def one_kind(self) -> NewDesktopOrigin:
        if (self.template is None) == (self.media is None):
            raise ValueError("give either `template` or `media`")
        if self.template is not None and self.size_gib is not None:
            raise ValueError("the size comes from the template")
        return self


class Drive(Body):
    """A drive with a medium in it, or an empty one."""

    id: Id | None = None


class NewDesktopSpec(Body):
    """What is to be otherwise than the profile has it."""

    vcpus: Annotated[int, Field(ge=1, le=512)] | None = None
    memory_mib: Annotated[int, Field(ge=16, le=16 * 1024 * 1024)] | None = None
    firmware: Literal["bios", "uefi"] | None = None
    secure_boot: bool | None = None
    tpm: bool | None = None
    disk_bus: Literal["virtio", "sata"] | None = None
    media: Annotated[list[Drive], Field(max_length=4)] | None = None


class NewDesktop(Body):
    """`os` (a profile's id) and `spec` go with `origin.media` alone: a template brings its own."""

    name: Name
    origin: NewDesktopOrigin
    description: Description = ""
    icon: Icon = ""
    os: Slug | None = None
    spec: NewDesktopSpec | None = None

    @model_validator(mode="after")
    def hardware_of_its_own(self) -> NewDesktop:
        if self.origin.media is None and (self.os is not None or self.spec is not None):
            raise ValueError("`os` and `spec` go with `origin.media`")
        return self


class ChangeDrives(Body):
    media: Annotated[list[Drive], Field(max_length=4)]


class Allowed(Body):
    """Who may use it. Each: false (nobody), [] (everybody) or a list of ids."""

    roles: SomeIds = False
    categories: SomeIds = False
    groups: SomeIds = False
    users: SomeIds = False

    @field_validator("*", mode="wrap")
    @classmethod
    def tell_list(cls, value: Any, judge: ValidatorFunctionWrapHandler) -> Any:
        """One sentence and the list's own name, where a union tells of each of its ways."""
        try:
            return judge(value)
        except ValidationError as error:
            text = f"give false, or a list of at most {IDS_MAX} ids of 1 to {ID_MAX} characters"
            raise ValueError(text) from error


class NewTemplateOrigin(Body):
    desktop: Id


class NewTemplate(Body):
    name: Name
    origin: NewTemplateOrigin
    kind: Literal["template", "base"] = "template"
    description: Description = ""
    icon: Icon = ""
    allowed: Allowed = Allowed()


class Hardware(Body):
    vcpus: Annotated[int, Field(ge=1, le=512)] | None = None
    memory_mib: Annotated[int, Field(ge=16, le=16 * 1024 * 1024)] | None = None
    firmware: Literal["bios", "uefi"] | None = None
    video: Literal["virtio", "qxl", "vga", "bochs", "none"] | None = None
    sound: Literal["none", "ich9", "ac97", "hda"] | None = None


class ChangeTemplate(Body):
    """What is given is changed. `retry`: try again what failed, and nothing else."""

    name: Name | None = None
    description: Description | None = None
    allowed: Allowed | None = None
    spec: Hardware | None = None
    retry: Literal[True] | None = None

    @model_validator(mode="after")
    def something(self) -> ChangeTemplate:
        given = self.model_fields_set
        if not given or any(getattr(self, name) is None for name in given):
            raise ValueError("give something to change, not null")
        if "retry" in given and len(given) > 1:
            raise ValueError("give `retry` alone")
        return self


class TemplateOrigin(Body):
    template: Id


class NewDesktops(Body):
    """One of `count` (for myself), `names` (for myself), `users` or `group` (one each)."""

    name: Name = "Desktop {n}"
    origin: TemplateOrigin
    description: Description = ""
    count: Annotated[int, Field(ge=1, le=BULK_MAX)] | None = None
    names: Annotated[list[Name], Field(min_length=1, max_length=BULK_MAX)] | None = None
    users: Annotated[list[Id], Field(min_length=1, max_length=BULK_MAX)] | None = None
    group: Id | None = None

    @model_validator(mode="after")
    def one_way(self) -> NewDesktops:
        ways = [key for key in ("count", "names", "users", "group") if getattr(self, key)]
        if len(ways) != 1:
            raise ValueError("give exactly one of `count`, `names`, `users` and `group`")
        return self


class WishedDesktop(Body):
    state: Literal["stopped", "started", "paused", "deleted"]
    force: bool = False


class ChangePlacement(Body):
    """What is given is changed; a hypervisor of null is taken away."""

    pool: Slug = "default"
    forced_hypervisor: Slug | None = None
    favourite_hypervisor: Slug | None = None


ALONE = frozenset({"desired", "spec", "placement", "networks"})


class ChangeDesktop(Body):
    """One of: `desired`; `spec` (its drives and what is in them, also while it runs); `placement`
    (for administrators); `networks` (ids, a card on each; both from the next start on); `name` and
    `description`.
    """

    desired: WishedDesktop | None = None
    spec: ChangeDrives | None = None
    placement: ChangePlacement | None = None
    networks: Annotated[list[Slug], Field(max_length=8)] | None = None
    name: Name | None = None
    description: Description | None = None

    @model_validator(mode="after")
    def one_kind(self) -> ChangeDesktop:
        given = self.model_fields_set
        if not given or any(getattr(self, name) is None for name in given):
            raise ValueError("give what is to be changed, not null")
        if ALONE & given and len(given) > 1:
            raise ValueError(f"give {', '.join(sorted(ALONE))} alone")
        return self


class OpenViewer(Body):
    kind: Literal["browser"] = "browser"


class Capabilities(Body):
    hypervisor: bool
    disk_operations: bool


class ViewerAddress(Body):
    hostname: Host | None = None
    port: Port | None = None
    nat_hostname: Host | None = None
    nat_offset: Annotated[int, Field(ge=0, le=65535)] | None = None
    proxy: Host | None = None


class Limits(Body):
    """What it may take; null takes a limit away."""

    memory_mib: Annotated[int, Field(ge=0, le=2**30)] | None = None
    memory_ratio: Annotated[float, Field(gt=0, le=10)] | None = None
    vcpus: Annotated[int, Field(ge=0, le=100_000)] | None = None
    cpu_ratio: Annotated[float, Field(gt=0, le=100)] | None = None
    domains: Annotated[int, Field(ge=0, le=100_000)] | None = None
    weight: Annotated[int, Field(ge=0, le=1000)] | None = None


class HypervisorFields(Body):
    port: Port = 22
    user: Annotated[str, StringConstraints(pattern=USER_NAME)] = "root"
    description: Description = ""
    capabilities: Capabilities = Capabilities(hypervisor=True, disk_operations=True)
    pools: Annotated[list[Slug], Field(min_length=1, max_length=64)] = ["default"]
    viewer: ViewerAddress = ViewerAddress()
    limits: Limits = Limits()


OneTimePassword = Annotated[
    str,
    Field(
        max_length=1024,
        json_schema_extra={"writeOnly": True},
        description="Sealed for the engine, used once, and forgotten within two minutes.",
    ),
]
TrustNewKey = Annotated[
    bool,
    Field(description="Accept whatever key the host shows, where none was accepted or named."),
]
Fingerprint = Annotated[
    str,
    StringConstraints(max_length=300),
    Field(description="Of the host's SSH key, as ssh-keygen -l prints it."),
]


class NewHypervisor(HypervisorFields):
    id: Annotated[str, StringConstraints(pattern=SLUG)]
    hostname: Host
    host_key: HostKey | None = None
    password: OneTimePassword | None = None
    fingerprint: Fingerprint | None = None
    trust_new_key: TrustNewKey = False


class EnrolHypervisor(Body):
    """Without a password: for a host that lets the engine's key in already."""

    password: OneTimePassword | None = None
    fingerprint: Fingerprint | None = None
    trust_new_key: TrustNewKey = False


class WishedHypervisor(Body):
    state: Literal["enabled", "disabled", "maintenance", "deleted"]
    force: bool = False


class ChangeHypervisor(HypervisorFields):
    """One of: `desired`; `host_key` (the one offered, to accept it); the other fields, to edit."""

    desired: WishedHypervisor | None = None
    host_key: HostKey | None = None
    hostname: Host | None = None

    @model_validator(mode="after")
    def one_kind(self) -> ChangeHypervisor:
        given = self.model_fields_set
        if not given or any(getattr(self, name) is None for name in given):
            raise ValueError("give something to change, not null")
        if {"desired", "host_key"} & given and len(given) > 1:
            raise ValueError("give `desired` or `host_key` alone")
        return self


class StopDesktops(Body):
    which: Literal["all", "unwatched"]


class NewTask(Body):
    """Work on disks. The arguments of each kind are in docs/storage.md (and db/taskcheck.py)."""

    kind: Literal[
        "resize",
        "move",
        "convert",
        "sparsify",
        "flatten",
        "verify",
        "duplicate",
        "export",
    ]
    args: dict[str, Any] = {}


class NewImport(Body):
    """A desktop or template to be made of a disk image."""

    kind: Literal["import"]
    args: dict[str, Any]
