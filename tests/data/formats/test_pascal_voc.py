"""Pascal VOC's XML: boxes from pixels counted from 1, and files that no annotation looks like."""

import pytest

from dense.data.datasets import find_dataset, with_kinds
from dense.data.formats.pascal_voc import read_voc, read_xml
from dense.errors import DataError

OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult>
<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>
<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"""
PICTURE = "<annotation><size><width>50</width><height>40</height><depth>3</depth></size>{objects}</annotation>"


def thing(**values):
    return OBJECT.format(**({"name": "cat", "difficult": 0, "x1": 1, "y1": 1, "x2": 50, "y2": 40} | values))


@pytest.fixture
def voc(tmp_path):
    """Function from the XML of picture 000007 to the root of a VOC with it."""
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (tmp_path / "VOC2007" / folder).mkdir(parents=True)

    def make(xml):
        root = tmp_path / "VOC2007"
        (root / "ImageSets/Main/test.txt").write_text("000007\n")
        (root / "Annotations/000007.xml").write_text(xml)
        return root

    return make


def test_read_voc__a_picture__edges_from_0_and_difficult(voc):
    """Catches boxes off by one, parts taken for objects, and the mark of difficult objects lost."""
    objects = thing() + thing(name="dog", difficult=1, x1=11, y1=5, x2=20, y2=14)
    dataset = read_voc(voc(PICTURE.format(objects=objects)), "test", ["dog", "cat"])
    (image,) = dataset.images
    assert (image.id, image.width, image.height, image.file_name) == (7, 50, 40, "000007.jpg")
    found = [(item.category_id, item.box, item.difficult, item.iscrowd) for item in image.objects]
    assert found == [(2, (0, 0, 50, 40), False, False), (1, (10, 4, 10, 10), True, False)]


def test_find_dataset__names_of_detectron2__read_below_the_root(voc, monkeypatch):
    """Catches names that are not registered, and class numbers in another order than published models have."""
    root = voc(PICTURE.format(objects=thing(name="tvmonitor")))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root.parent))
    source = find_dataset("voc_2007_test", "image_instance")
    assert source.read().contiguous_id(source.read().images[0].objects[0].category_id) == 19
    assert with_kinds(["voc_2012_trainval"], ["video_instance"]) == [("voc_2012_trainval", "image_instance")]
    with pytest.raises(DataError, match="boxes only"):
        source.read(masks=True)


BOMB = """<!DOCTYPE a [<!ENTITY x "yyyyyyyyyy"><!ENTITY z "&x;&x;&x;">]><annotation>&z;</annotation>"""


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (BOMB, "document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "document type"),
        ("<annotation>", "is no XML"),
        ("", "is no XML"),
        ("<a>" * 300 + "</a>" * 300, "inside each other"),
        ("<a>" + " " * (1 << 20) + "</a>", "larger than"),
        ('<?xml version="1.0" encoding="no-such"?><a/>', "is no XML"),
    ],
)
def test_read_xml__hostile__one_line(tmp_path, xml, message):
    """Catches entities that are expanded, stacks that overflow, and foreign errors."""
    path = tmp_path / "a.xml"
    path.write_text(xml)
    with pytest.raises(DataError, match=message):
        read_xml(path)


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        (thing(name="unicorn"), "object 0: its name is 'unicorn'"),
        (thing(x1=30, x2=20), "no area"),
        (thing(y1="nan"), "expected a number"),
        (thing(x2=""), "expected a number"),
    ],
)
def test_read_voc__wrong_object__named(voc, objects, message):
    """Catches boxes inside out and unknown classes that reach the training."""
    with pytest.raises(DataError, match=message):
        read_voc(voc(PICTURE.format(objects=objects)), "test", ["cat"])
