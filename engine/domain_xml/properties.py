"""XML elements with declared properties, read and written by the same declaration. Pure.

A class declares which attribute stands where, as a short path from its own element: `./memory` is a
child's text, `./memory/@unit` an attribute. Setting a property makes the children on its way;
setting None removes them again. So what is written can be read back, the order of lines is the
order of setting, and no text is ever put together by hand: quotes, angle brackets and line ends in
a value stay a value. What XML cannot carry at all is refused. Used by engine.domain_xml.domain,
which says what the elements are; policy is in builder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Generic, TypeVar, overload
from xml.etree import ElementTree

T = TypeVar("T")
E = TypeVar("E", bound="Element")

NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document may hold, escaped or not."""
PARTS = re.compile(r"(?:\{[^}]*\}|[^/{])+")
"""The steps of a path; a namespace in braces has slashes of its own."""
STEP = re.compile(r"[A-Za-z0-9_-]+|\{[^}]+\}[A-Za-z0-9_-]+")


class Property(Generic[T]):
    """A value at `path` below the element, None where it is not there."""

    def __init__(self, path: str, read: Callable[[str], T], write: Callable[[T], str]) -> None:
        *steps, last = PARTS.findall(path.removeprefix("./"))
        self.path = path
        self._steps = steps if last.startswith("@") else [*steps, last]
        self._attribute = last[1:] if last.startswith("@") else None
        for step in self._steps:
            if not STEP.fullmatch(step):
                raise ValueError(f"{path!r} is not a path this understands")
        self._read, self._write = read, write

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, element: None, owner: type) -> Property[T]: ...
    @overload
    def __get__(self, element: Element, owner: type) -> T | None: ...
    def __get__(self, element: Element | None, owner: type) -> Property[T] | T | None:
        if element is None:
            return self
        node = self._find(element.node)
        if node is None:
            return None
        text = node.text if self._attribute is None else node.get(self._attribute)
        return None if text is None else self._read(text)

    def __set__(self, element: Element, value: T | None) -> None:
        if value is None:
            self._remove(element.node)
            return
        text = self._write(value)
        bad = NOT_XML.search(text)
        if bad:
            raise ValueError(f"{self.name}: the character {bad[0]!r} cannot be in XML")
        node = element.node
        for step in self._steps:
            child = node.find(step)
            node = child if child is not None else ElementTree.SubElement(node, step)
        if self._attribute is None:
            node.text = text
        else:
            node.set(self._attribute, text)

    def _find(self, node: ElementTree.Element) -> ElementTree.Element | None:
        found: ElementTree.Element | None = node
        for step in self._steps:
            found = found.find(step) if found is not None else None
        return found

    def _remove(self, top: ElementTree.Element) -> None:
        """Also the children on the way that are left empty."""
        way = [top]
        for step in self._steps:
            child = way[-1].find(step)
            if child is None:
                return
            way.append(child)
        if self._attribute is None:
            way[-1].text = None
        else:
            way[-1].attrib.pop(self._attribute, None)
        for parent, child in reversed(list(pairwise(way))):
            if child.attrib or (child.text or "").strip() or len(child):
                return
            parent.remove(child)


def text(path: str) -> Property[str]:
    return Property(path, str, str)


def number(path: str) -> Property[int]:
    return Property(path, int, str)


def yes_no(path: str) -> Property[bool]:
    return Property(path, lambda word: word == "yes", lambda value: "yes" if value else "no")


def on_off(path: str) -> Property[bool]:
    return Property(path, lambda word: word == "on", lambda value: "on" if value else "off")


class Flag(Property[bool]):
    """An empty element that is there (True) or not (None), like <acpi/>."""

    def __init__(self, path: str) -> None:
        super().__init__(path, lambda _text: True, lambda _value: "")

    def __get__(self, element: Element | None, owner: type) -> Any:
        if element is None:
            return self
        return True if self._find(element.node) is not None else None

    def __set__(self, element: Element, value: bool | None) -> None:
        if value:
            super().__set__(element, True)
        else:
            self._remove(element.node)


class Element:
    """An XML element. Subclasses give TAG and properties, by name in any order."""

    TAG = ""

    def __init__(self, node: ElementTree.Element | None = None, **values: Any) -> None:
        self.node = ElementTree.Element(self.TAG) if node is None else node
        for name, value in values.items():
            if name not in self.properties():
                raise TypeError(f"{type(self).__name__} declares no property {name!r}")
            setattr(self, name, value)

    @classmethod
    def properties(cls) -> dict[str, Property[Any]]:
        """Every declared property, inherited ones first."""
        return {
            name: value
            for owner in reversed(cls.__mro__)
            for name, value in vars(owner).items()
            if isinstance(value, Property)
        }

    def values(self) -> dict[str, Any]:
        """What is set, by property name."""
        found = {name: getattr(self, name) for name in self.properties()}
        return {name: value for name, value in found.items() if value is not None}

    def add(self, child: Element, *, under: str | None = None) -> None:
        """Append a child, in a container such as <devices> that is made when needed."""
        node = self.node
        if under is not None:
            for step in under.split("/"):
                found = node.find(step)
                node = found if found is not None else ElementTree.SubElement(node, step)
        node.append(child.node)

    def each(self, kind: type[E], *, under: str | None = None) -> Iterator[E]:
        path = kind.TAG if under is None else f"{under}/{kind.TAG}"
        for node in self.node.iterfind(path):
            yield kind(node)

    def to_xml(self) -> str:
        ElementTree.indent(self.node)
        return ElementTree.tostring(self.node, encoding="unicode") + "\n"
