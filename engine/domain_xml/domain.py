"""The elements of libvirt's domain XML that we use, as declarations. No policy: builder decides
what is set.

One class for each element, one line for each property; tests/engine/domain_xml fails when a
declared property is never written by the builder, so nothing here is dead. libvirt's own words are
kept as they are.
"""

from __future__ import annotations

from xml.etree import ElementTree

from engine.domain_xml.properties import Element, Flag, number, on_off, text, yes_no

METADATA_URI = "https://isardvdi.com/libvirt/1"
ElementTree.register_namespace("isard", METADATA_URI)


class Domain(Element):
    TAG = "domain"

    type = text("./@type")
    name = text("./name")
    uuid = text("./uuid")
    title = text("./title")
    installation = text(f"./metadata/{{{METADATA_URI}}}domain/@installation")
    revision = text(f"./metadata/{{{METADATA_URI}}}domain/@revision")
    memory = number("./memory")
    memory_unit = text("./memory/@unit")
    vcpus = number("./vcpu")
    firmware = text("./os/@firmware")
    loader_secure = yes_no("./os/loader/@secure")
    nvram = text("./os/nvram")
    os_type = text("./os/type")
    arch = text("./os/type/@arch")
    machine = text("./os/type/@machine")
    boot_menu = yes_no("./os/bootmenu/@enable")
    acpi = Flag("./features/acpi")
    apic = Flag("./features/apic")
    hyperv_mode = text("./features/hyperv/@mode")
    hyperv_relaxed = on_off("./features/hyperv/relaxed/@state")
    hyperv_vapic = on_off("./features/hyperv/vapic/@state")
    hyperv_spinlocks = on_off("./features/hyperv/spinlocks/@state")
    hyperv_spinlock_retries = number("./features/hyperv/spinlocks/@retries")
    hyperv_vpindex = on_off("./features/hyperv/vpindex/@state")
    hyperv_runtime = on_off("./features/hyperv/runtime/@state")
    hyperv_synic = on_off("./features/hyperv/synic/@state")
    hyperv_stimer = on_off("./features/hyperv/stimer/@state")
    hyperv_reset = on_off("./features/hyperv/reset/@state")
    hyperv_frequencies = on_off("./features/hyperv/frequencies/@state")
    smm = on_off("./features/smm/@state")
    cpu_mode = text("./cpu/@mode")
    cpu_check = text("./cpu/@check")
    cpu_migratable = on_off("./cpu/@migratable")
    sockets = number("./cpu/topology/@sockets")
    cores = number("./cpu/topology/@cores")
    threads = number("./cpu/topology/@threads")
    clock_offset = text("./clock/@offset")
    on_poweroff = text("./on_poweroff")
    on_reboot = text("./on_reboot")
    on_crash = text("./on_crash")
    suspend_to_memory = yes_no("./pm/suspend-to-mem/@enabled")
    suspend_to_disk = yes_no("./pm/suspend-to-disk/@enabled")


class FirmwareFeature(Element):
    TAG = "feature"

    enabled = yes_no("./@enabled")
    name = text("./@name")


class Timer(Element):
    TAG = "timer"

    name = text("./@name")
    tick_policy = text("./@tickpolicy")
    present = yes_no("./@present")


class Disk(Element):
    TAG = "disk"

    type = text("./@type")
    device = text("./@device")
    driver_name = text("./driver/@name")
    driver_type = text("./driver/@type")
    discard = text("./driver/@discard")
    detect_zeroes = text("./driver/@detect_zeroes")
    source_file = text("./source/@file")
    target_name = text("./target/@dev")
    target_bus = text("./target/@bus")
    boot_order = number("./boot/@order")
    read_only = Flag("./readonly")
    alias = text("./alias/@name")


class Interface(Element):
    TAG = "interface"

    type = text("./@type")
    mac = text("./mac/@address")
    network = text("./source/@network")
    bridge = text("./source/@bridge")
    filter = text("./filterref/@filter")
    filter_parameter = text("./filterref/parameter/@name")
    filter_value = text("./filterref/parameter/@value")
    model = text("./model/@type")
    boot_order = number("./boot/@order")
    alias = text("./alias/@name")


class Controller(Element):
    TAG = "controller"

    type = text("./@type")
    index = number("./@index")
    model = text("./@model")


class Graphics(Element):
    TAG = "graphics"

    type = text("./@type")
    autoport = yes_no("./@autoport")
    password = text("./@passwd")
    listen = text("./@listen")
    share_policy = text("./@sharePolicy")
    listen_type = text("./listen/@type")
    listen_address = text("./listen/@address")


class Video(Element):
    TAG = "video"

    model = text("./model/@type")


class Sound(Element):
    TAG = "sound"

    model = text("./@model")


class Audio(Element):
    TAG = "audio"

    id = number("./@id")
    type = text("./@type")


class Input(Element):
    TAG = "input"

    type = text("./@type")
    bus = text("./@bus")


class Channel(Element):
    TAG = "channel"

    type = text("./@type")
    target_type = text("./target/@type")
    target_name = text("./target/@name")


class Tpm(Element):
    TAG = "tpm"

    model = text("./@model")
    backend = text("./backend/@type")
    version = text("./backend/@version")


class Rng(Element):
    TAG = "rng"

    model = text("./@model")
    backend_model = text("./backend/@model")


class Balloon(Element):
    TAG = "memballoon"

    model = text("./@model")
    stats_period_s = number("./stats/@period")


ELEMENTS: tuple[type[Element], ...] = (
    Domain,
    FirmwareFeature,
    Timer,
    Disk,
    Interface,
    Controller,
    Graphics,
    Video,
    Sound,
    Audio,
    Input,
    Channel,
    Tpm,
    Rng,
    Balloon,
)
