"""Pascal VOC: one XML file of boxes per picture, and lists of pictures; read with care, as records of ``coco``.

``Annotations/NAME.xml`` (size, and per object a class name, a box, ``difficult``), ``ImageSets/Main/SPLIT.txt`` (one name a
line), ``JPEGImages/NAME.jpg``. Boxes there count pixels from 1 and include the last one; here they are edges from 0, so that
width and overlap come out as in VOC's own code.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from dense.data.formats.category_table import Category
from dense.data.formats.coco import ImageDataset, ImageObject, ImageRecord
from dense.data.formats.name_lists import read_names
from dense.errors import DataError, shown
from dense.limits import LARGEST_INTEGER, MAX_NESTING, MAX_XML_BYTES, max_pixels

__all__ = ["read_voc", "read_xml"]

_MOST_DIGITS = 18


def read_voc(root: Path, split: str, names: Sequence[str]) -> ImageDataset:
    """Read and check the annotations of a split.

    The id of an image is its name's digits (``2008_000042`` → 2008000042), the id of an object its number in the split.

    Args:
        root: folder ``VOC2007`` or ``VOC2012``.
        split: name of the list.
        names: class names; ids are their positions from 1.

    Raises: DataError naming the file and what is wrong.
    """
    categories = tuple(Category(place, name) for place, name in enumerate(names, start=1))
    images: list[ImageRecord] = []
    count = 0
    for name in read_names(root / "ImageSets" / "Main" / f"{split}.txt"):
        path = root / "Annotations" / f"{name}.xml"
        image = _image(read_xml(path), name, path, count + 1, {category.name: category.id for category in categories})
        count += len(image.objects)
        images.append(image)
    return ImageDataset(
        path=str(root / "Annotations"),
        images=tuple(images),
        categories=categories,
        has_annotations=True,
        image_root=root / "JPEGImages",
    )


def read_xml(path: Path) -> ElementTree.Element:
    """The root element of a small XML file without a document type: nothing is expanded, nothing fetched.

    Raises: DataError naming the file if it cannot be read, is no XML, too large, nested too deeply, or declares a type.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_XML_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}), expected an XML file.") from error
    if len(content) > MAX_XML_BYTES:
        raise DataError(f"{path}: is larger than {MAX_XML_BYTES} bytes, expected the annotation of one picture.")
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_NESTING:
            raise DataError(f"{path}: more than {MAX_NESTING} elements inside each other.")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise DataError(f"{path}: declares a document type, which annotations do not need. Remove the <!DOCTYPE …>.")

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # the last two: an encoding that is none
        raise DataError(f"{path}: is no XML ({error}).") from error
    return builder.close()


def _image(top: ElementTree.Element, name: str, path: Path, first: int, classes: dict[str, int]) -> ImageRecord:
    digits = name.replace("_", "")
    if not digits.isascii() or not digits.isdigit() or len(digits) > _MOST_DIGITS:
        raise DataError(f"{path}: the picture's name is {shown(name)}, expected digits as in 000005 or 2008_000002.")
    width, height = (int(_number(top, f"size/{side}", path)) for side in ("width", "height"))
    if width < 1 or height < 1 or width * height > max_pixels():
        raise DataError(f"{path}: its size is {width}x{height}, expected 1x1 to {max_pixels()} pixels.")
    objects = tuple(
        _object(element, f"{path}: object {place}", first + place, (width, height), classes)
        for place, element in enumerate(top.findall("object"))
    )
    return ImageRecord(int(digits), width, height, f"{name}.jpg", objects)


def _object(
    element: ElementTree.Element, where: str, identity: int, size: tuple[int, int], classes: dict[str, int]
) -> ImageObject:
    name = (element.findtext("name") or "").strip()
    if name not in classes:
        raise DataError(f"{where}: its name is {shown(name)}, expected one of {', '.join(classes)}.")
    left, top, right, bottom = (_number(element, f"bndbox/{edge}", where) for edge in ("xmin", "ymin", "xmax", "ymax"))
    left, top, right, bottom = left - 1, top - 1, min(right, size[0]), min(bottom, size[1])
    if not (0 <= left < right and 0 <= top < bottom):
        raise DataError(
            f"{where}: its box {[left + 1, top + 1, right, bottom]} has no area in a picture of {size[0]}x{size[1]}."
        )
    box = (left, top, right - left, bottom - top)
    difficult = (element.findtext("difficult") or "0").strip() == "1"
    return ImageObject(identity, classes[name], False, box, box[2] * box[3], None, difficult)


def _number(element: ElementTree.Element, place: str, where: object) -> float:
    text = (element.findtext(place) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) <= LARGEST_INTEGER:
        raise DataError(f"{where}: <{place}> is {shown(text)}, expected a number.")
    return value
