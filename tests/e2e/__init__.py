"""The whole product as a person meets it: `make run`'s own start, a real hypervisor, Chromium."""
