"""What a host needs to run desktops: libvirt, QEMU, a processor and memory."""

from __future__ import annotations

from db.sentences import counted
from engine.hypervisor.checks.visit import VIRTUALIZATION, Check, Finding, Visit, failed, passed

MEMORY_MIN_MIB = 512
LIBVIRT_MIN = (6, 1, 0)
TRY_KVM = "To have KVM tried, run there: sudo sh hyper_image/manual-install.sh --apply."


def check_libvirt(visit: Visit) -> Finding:
    visit.connection.open()
    visit.info = visit.connection.info()
    version = visit.info["libvirt_version"]
    message = f"libvirt {version} with QEMU {visit.info['qemu_version']}."
    if tuple(int(part) for part in version.split(".")) < LIBVIRT_MIN:
        wanted = ".".join(str(part) for part in LIBVIRT_MIN)
        return failed(message, f"Upgrade the host: libvirt {wanted} is the oldest that works.")
    return passed(message)


def check_acceleration(visit: Visit) -> Finding:
    """Emulation is slower, not wrong. Where nobody has tried KVM the script that tries it is named;
    where it was tried in vain, the answer says why.
    """
    found = visit.profile
    return passed(found.kvm_reason if found.is_described else f"{found.kvm_reason} {TRY_KVM}")


def check_processor(visit: Visit) -> Finding:
    """Desktops that move between hosts need like ones; the engine names the model, people judge."""
    cpus = visit.info["cpus"]
    count = counted(cpus, "CPU", "CPUs")
    return passed(f"{count}: {visit.profile.cpu_model or 'a processor without a name'}.")


def check_memory(visit: Visit) -> Finding:
    memory_mib = visit.info["memory_mib"]
    message = f"{memory_mib} MiB of memory."
    if memory_mib < MEMORY_MIN_MIB:
        return failed(message, f"Give the host at least {MEMORY_MIN_MIB} MiB of memory.")
    return passed(message)


def check_screens(visit: Visit) -> Finding:
    """As its QEMU says; a desktop that asks for SPICE where there is none starts with VNC."""
    if "spice" in visit.info["graphics"]:
        return passed("Its QEMU offers VNC and SPICE.")
    return passed("Its QEMU offers VNC, and no SPICE: desktops that ask for it have VNC here.")


CHECKS = (
    Check(
        "libvirt",
        "libvirt and QEMU",
        VIRTUALIZATION,
        ("login",),
        check_libvirt,
        "Install and start libvirt on the host (systemctl enable --now libvirtd), and let "
        "the user use it (group libvirt).",
    ),
    Check("acceleration", "Acceleration", VIRTUALIZATION, ("login",), check_acceleration),
    Check("processor", "Processor", VIRTUALIZATION, ("libvirt",), check_processor),
    Check("memory", "Memory", VIRTUALIZATION, ("libvirt",), check_memory),
    Check("screens", "Screens", VIRTUALIZATION, ("libvirt",), check_screens),
)
