"""Descriptions of machines as VMware and VirtualBox write them, and one that nobody should read."""

from __future__ import annotations

from engine.storage.ova import RASD

SPACES = (
    'xmlns="http://schemas.dmtf.org/ovf/envelope/1" '
    'xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" '
    f'xmlns:rasd="{RASD}" '
    'xmlns:vmw="http://www.vmware.com/schema/ovf" '
    'xmlns:vbox="http://www.virtualbox.org/ovf/machine"'
)

VMWARE = """
<VirtualSystem ovf:id="office"><Info>A virtual machine</Info><Name>Office &amp; more</Name>
 <OperatingSystemSection ovf:id="103" vmw:osType="windows9_64Guest"><Info>The system</Info>
  <Description>Microsoft Windows 10 (64-bit)</Description></OperatingSystemSection>
 <VirtualHardwareSection><Info>Virtual hardware</Info>
  <Item><rasd:AllocationUnits>hertz * 10^6</rasd:AllocationUnits>
   <rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType>
   <rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
  <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>
   <rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType>
   <rasd:VirtualQuantity>4096</rasd:VirtualQuantity></Item>
  <Item><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceSubType>lsilogicsas</rasd:ResourceSubType>
   <rasd:ResourceType>6</rasd:ResourceType></Item>
  <Item><rasd:InstanceID>4</rasd:InstanceID><rasd:Parent>3</rasd:Parent>
   <rasd:ResourceType>17</rasd:ResourceType></Item>
  <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
 </VirtualHardwareSection></VirtualSystem>"""

VIRTUALBOX = """
<VirtualSystem ovf:id="deb">
 <OperatingSystemSection ovf:id="96"><Info>The kind</Info><Description>Debian_64</Description>
  <vbox:OSType ovf:required="false">Debian_64</vbox:OSType></OperatingSystemSection>
 <VirtualHardwareSection><Info/>
  <Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType>
   <rasd:VirtualQuantity>1</rasd:VirtualQuantity></Item>
  <Item><rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits><rasd:InstanceID>2</rasd:InstanceID>
   <rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>512</rasd:VirtualQuantity></Item>
  <Item><rasd:InstanceID>5</rasd:InstanceID><rasd:ResourceSubType>AHCI</rasd:ResourceSubType>
   <rasd:ResourceType>20</rasd:ResourceType></Item>
  <Item><rasd:InstanceID>7</rasd:InstanceID><rasd:Parent>5</rasd:Parent>
   <rasd:ResourceType>17</rasd:ResourceType></Item>
 </VirtualHardwareSection>
 <vbox:Machine ovf:required="false" name="deb" OSType="Debian_64"><Hardware>{firmware}</Hardware>
 </vbox:Machine></VirtualSystem>"""


def envelope(inside: str) -> bytes:
    return f'<?xml version="1.0"?>\n<Envelope {SPACES}>{inside}</Envelope>'.encode()


def machine(vcpus: str = "2", memory: str = "1024", units: str = "byte * 2^20") -> bytes:
    items = (
        f"<Item><rasd:ResourceType>3</rasd:ResourceType>"
        f"<rasd:VirtualQuantity>{vcpus}</rasd:VirtualQuantity></Item>"
        f"<Item><rasd:AllocationUnits>{units}</rasd:AllocationUnits><rasd:ResourceType>4"
        f"</rasd:ResourceType><rasd:VirtualQuantity>{memory}</rasd:VirtualQuantity></Item>"
    )
    hardware = f"<VirtualHardwareSection>{items}</VirtualHardwareSection>"
    return envelope(f'<VirtualSystem ovf:id="m">{hardware}</VirtualSystem>')


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">{}]><Envelope><Name>&j;</Name></Envelope>'.format(
    "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True)
    )
).encode()
