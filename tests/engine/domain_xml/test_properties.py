"""Declared properties: reading, writing, removing, and what XML cannot carry."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain_xml.properties import NOT_XML, Element, Flag, Property, number, text, yes_no


class Lamp(Element):
    TAG = "lamp"

    colour = text("./shade/@colour")
    label = text("./shade/label")
    watts = number("./bulb/@watts")
    lit = yes_no("./@lit")
    broken = Flag("./state/broken")


class Room(Element):
    TAG = "room"


def test_a_new_element_has_nothing() -> None:
    lamp = Lamp()
    assert lamp.values() == {}
    assert lamp.to_xml() == "<lamp />\n"
    assert (lamp.colour, lamp.watts, lamp.lit, lamp.broken) == (None, None, None, None)


def test_setting_makes_the_children_on_the_way_once() -> None:
    lamp = Lamp(colour="green", label="Desk", watts=40, lit=False, broken=True)
    assert lamp.to_xml() == (
        '<lamp lit="no">\n  <shade colour="green">\n    <label>Desk</label>\n  </shade>\n'
        '  <bulb watts="40" />\n  <state>\n    <broken />\n  </state>\n</lamp>\n'
    )


def test_removing_leaves_no_empty_children_but_keeps_full_ones() -> None:
    lamp = Lamp(colour="green", label="Desk", broken=True)
    lamp.colour = None
    assert lamp.label == "Desk"
    lamp.label = None
    lamp.broken = False
    assert lamp.to_xml() == "<lamp />\n"
    lamp.watts = None
    assert lamp.watts is None


def test_an_undeclared_property_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="height"):
        Lamp(height=3)


def test_a_path_that_is_more_than_names_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="not a path"):
        text("./disk[@device='cdrom']/source")


def test_children_go_into_a_container_made_when_needed() -> None:
    room = Room()
    for watts in (1, 2):
        room.add(Lamp(watts=watts), under="lamps")
    assert [lamp.watts for lamp in room.each(Lamp, under="lamps")] == [1, 2]
    assert len(room.node) == 1


def test_the_declaration_itself_is_seen_on_the_class() -> None:
    assert isinstance(Lamp.watts, Property)
    assert set(Lamp.properties()) == {"colour", "label", "watts", "lit", "broken"}


@given(st.text())
def test_any_text_comes_back_or_is_refused(value: str) -> None:
    lamp = Lamp()
    if NOT_XML.search(value):
        with pytest.raises(ValueError, match="cannot be in XML"):
            lamp.colour = value
        return
    lamp.colour = value
    read = Lamp(ElementTree.fromstring(lamp.to_xml()))
    assert read.colour == value
