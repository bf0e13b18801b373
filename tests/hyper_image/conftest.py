"""The lab's fixtures for the tests of this folder."""

from tests.lab.fixtures import lab, lab_host, tiny_image

__all__ = ["lab", "lab_host", "tiny_image"]
