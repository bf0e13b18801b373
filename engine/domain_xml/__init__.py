"""libvirt's domain XML, built from declared properties. Pure: text in, text out."""
