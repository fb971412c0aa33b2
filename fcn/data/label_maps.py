"""Read people's own label maps: pictures of class numbers or of colours, losslessly compressed.

With colours in the list of classes, palette and RGB maps are read through their own colours;
without, by number. Grey maps are of one kind in a whole folder, which :func:`grey_kind` decides.
Transparent pixels are void.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fcn.data.class_lists import Classes, hex_of
from fcn.data.photos import Unusable, header_size, opening, orientation_of, raw_mode
from fcn.data.reading import other_size
from fcn.data.sample import VOID

Grey = Literal["numbers", "colours", "mask"]
"""Grey pixels are numbers of classes, colours of classes, or 0 and 255 for two classes."""

ENDINGS = (".png", ".tif", ".tiff", ".bmp", ".gif", ".webp")
REMEDY = "save it as an 8-bit grey PNG of class labels"
LOSSY = (
    "lossy compression changes labels; export the map again from the tool that made it, as PNG "
    "(converting this file does not restore them)"
)
_FORMATS = ("PNG", "TIFF", "BMP", "GIF", "WEBP")
_LOSSY_FORMATS = ("JPEG", "MPO", "JPEG2000", "AVIF", "HEIF")
_LOSSY_TIFFS = ("jpeg", "tiff_jpeg", "webp")  # Pillow's names for their compression
_DEEP = ("I", "I;16", "I;16B", "I;16L")  # modes of more than 8 bits
_SCALES = {"L;2": 85, "L;4": 17}  # of the greys shown for pixels of fewer than 8 bits
_UNKNOWN = 256  # in tables of labels
_STRIP = 256  # rows that are looked up together, to bound memory


class LabelMap(NamedTuple):
    """``labels``: uint8, H x W, upright, void 255. ``transparent``: some pixels were."""

    labels: NDArray[np.uint8]
    orientation: int
    transparent: bool


class _Stored(NamedTuple):
    """Pixels as stored: H x W numbers (grey, or of a palette of K x 3) or H x W x 3 colours."""

    pixels: NDArray[np.unsignedinteger]
    visible: NDArray[np.bool_] | None
    scale: int = 1  # from a number to the grey shown for it; 0: none, more than 8 bits
    palette: NDArray[np.uint8] | None = None


def read_label_map(
    path: Path,
    classes: Classes,
    source: Path,
    size: tuple[int, int] | None = None,
    grey: Callable[[], Grey] = lambda: "numbers",
) -> LabelMap:
    """A label map with the list of classes in ``source``.

    ``size``: height and width of its photo; they are compared before pixels are decoded, in either
    order (:func:`check_sides` knows more). ``grey``: called if the list leaves open what greys are.

    Raises FileNotFoundError and ValueError, naming the file and, if one is wrong, the pixel.
    """
    with opening(path, "label map", REMEDY) as image:
        _check_format(image, path)
        found_size = header_size(image)
        if size is not None and sorted(size) != sorted(found_size):
            raise Unusable(other_size(found_size, size))
        stored, orientation = _decoded(image)
        if stored.pixels.ndim == 3 and classes.palette is None:
            raise Unusable(
                f"a label map in colours, but {source} has none; add one to each class "
                f"(sky #9ecae1) or {REMEDY}"
            )
        kind = _kind(stored, classes, grey)
        table = _table(kind, stored, classes)
        labels = np.empty(stored.pixels.shape[:2], np.uint8)
        for top in range(0, len(labels), _STRIP):
            rows = slice(top, top + _STRIP)
            strip = stored.pixels[rows]
            found = _of_colours(strip, table) if strip.ndim == 3 else table[strip]
            if stored.visible is not None:
                found[~stored.visible[rows]] = VOID
            if (wrong := found == _UNKNOWN).any():
                row, column = np.unravel_index(np.argmax(wrong), wrong.shape)
                where = f"at row {top + row}, column {column}"
                pixel = strip[row, column]
                if kind == "colours":  # a grey, as any other colour
                    pixel = np.repeat(pixel * stored.scale, 3)
                raise Unusable(_unknown(pixel, where, stored, classes, source))
            labels[rows] = found
    transparent = stored.visible is not None and not stored.visible.all()
    return LabelMap(labels, orientation, transparent)


def grey_kind(classes: Classes, paths: Iterable[Path]) -> Grey:
    """The meaning of greys in a folder of label maps; files that cannot be read do not count.

    Colours, if the list has colours and a map of the folder shows others than greys, or if all
    greys of all maps are colours of the list. A mask, if it lists two classes and nothing about
    void, and the maps hold 0 and 255 and nothing else.
    """
    greys = _grey_colours(classes)
    has_greys = any(label != VOID for label in greys.values())
    coloured, by_value = classes.palette is not None, has_greys or may_be_mask(classes)
    if not coloured and not by_value:
        return "numbers"
    shown: set[int] = set()
    numbers: set[int] = set()
    for path in paths:
        try:
            with opening(path, "label map", REMEDY) as image:
                if not by_value and image.mode in ("1", "L", "LA", *_DEEP):
                    continue
                stored, _ = _decoded(image)
        except (OSError, ValueError):
            continue
        if stored.pixels.ndim == 3 or stored.palette is not None:
            if coloured:
                return "colours"
        elif stored.scale == 0:
            by_value = has_greys = False
        elif by_value:
            seen = stored.pixels if stored.visible is None else stored.pixels[stored.visible]
            values = {int(value) * stored.scale for value in _used(seen)}
            shown |= values
            numbers |= values if stored.scale < 255 else set()  # one bit fits either reading
    if has_greys and shown <= greys.keys():
        return "colours"
    return (
        "mask"
        if may_be_mask(classes) and by_value and {VOID} <= numbers <= {0, VOID}
        else "numbers"
    )


def may_be_mask(classes: Classes) -> bool:
    """True for two classes in order of their labels, and not a word about void."""
    plain = not classes.numbered and not classes.void_values and not classes.void
    return plain and len(classes.names) == 2


def check_sides(path: Path, labels: LabelMap, size: tuple[int, int], orientation: int) -> None:
    """Raise ValueError if a label map is as large as its photo, but on its side.

    ``size``: height and width of the photo, upright; ``orientation``: the one that was applied.
    """
    if labels.labels.shape == size:
        return
    if orientation > 4 and labels.orientation < 5:
        why = f"once the photo is turned upright as its EXIF orientation ({orientation}) says"
        remedy = "rotate the label map likewise, or remove the orientation from the photo's EXIF"
    elif labels.orientation > 4 and orientation < 5:
        why = f"once the map is turned upright as its EXIF orientation ({labels.orientation}) says"
        remedy = "remove the orientation from the label map's EXIF"
    else:
        why, remedy = "sides swapped", "rotate one of them by a quarter turn"
    raise ValueError(f"{path}: {other_size(labels.labels.shape, size, f', {why}; {remedy}')}")


def _check_format(image: Image.Image, path: Path) -> None:
    """Raise ValueError for a lossily compressed label map, or a format that is not read."""
    kind = image.format or "unknown"
    if kind in _LOSSY_FORMATS or (kind == "WEBP" and _lossy_webp(path)):
        raise Unusable(f"a {kind} file: {LOSSY}")
    if (inside := image.info.get("compression")) in _LOSSY_TIFFS:
        raise Unusable(f"a TIFF file with {inside} compression: {LOSSY}")
    if kind not in _FORMATS:
        raise Unusable(f"a {kind} file; {REMEDY}")


def _lossy_webp(path: Path) -> bool:
    """True if the chunk with the pixels of a WebP file is "VP8 ", which is lossy, not "VP8L"."""
    with path.open("rb") as file:
        file.seek(12)
        while len(chunk := file.read(8)) == 8 and not chunk.startswith((b"VP8 ", b"VP8L")):
            size = int.from_bytes(chunk[4:], "little")
            file.seek(size + size % 2, 1)
    return chunk.startswith(b"VP8 ")


def _decoded(image: Image.Image) -> tuple[_Stored, int]:
    """The pixels of an opened label map, upright, and the EXIF orientation that was applied."""
    stored_as = raw_mode(image)
    orientation = orientation_of(image)
    ImageOps.exif_transpose(image, in_place=True)
    return _stored(image, stored_as), orientation


def _stored(image: Image.Image, stored_as: str) -> _Stored:
    if image.format == "GIF":  # tools number its colours anew
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    mode, clear = image.mode, image.info.get("transparency")
    if mode in _DEEP:
        numbers = np.asarray(image)
        if (least := numbers.min()) < 0 or (most := numbers.max()) > 0xFFFF:
            if least < 0:
                raise Unusable(f"label {least} is negative; void is 255; {REMEDY}")
            raise Unusable(f"label {most} needs more than 16 bits; {REMEDY}")
        return _Stored(numbers.astype(np.uint16), _visible(numbers, clear), scale=0)
    if ";16" in stored_as:
        raise Unusable(f"its colours have 16 bits; {REMEDY}, or with 8 bits per channel")
    if mode == "P":
        pixels = np.array(image)
        colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        alpha = np.full(256, 255, np.uint8)
        if isinstance(clear, bytes):
            alpha[: len(clear)] = list(clear[:256])
        elif isinstance(clear, int):
            alpha[clear] = 0
        visible = None if alpha.all() else alpha[pixels] > 0
        used = _used(pixels)
        ramp = np.repeat(used[used < len(colours), None], 3, axis=1)
        if np.array_equal(colours[used[used < len(colours)]], ramp):
            return _Stored(pixels, visible)  # a palette of greys, in order
        return _Stored(pixels, visible, palette=colours)
    if mode in ("1", "L"):
        scale = 255 if mode == "1" else _SCALES.get(stored_as.rstrip("IR"), 1)
        pixels = np.array(image).astype(np.uint8)
        pixels //= scale if mode == "L" else 1
        if mode == "1" and isinstance(clear, int):
            clear = int(clear > 0)  # Pillow gives 255 for the pixel 1
        return _Stored(pixels, _visible(pixels, clear), scale)
    if mode not in ("LA", "RGB", "RGBA"):
        raise Unusable(f"its pixels are neither labels nor colours but {mode}; {REMEDY}")
    channels = np.array(image)
    visible = channels[..., -1] > 0 if mode in ("LA", "RGBA") else None
    if mode == "RGB" and isinstance(clear, tuple):
        visible = (channels != np.array(clear)).any(-1)
    colours = channels[..., :3]
    if mode == "LA":
        return _Stored(channels[..., 0], visible)
    shown = colours if visible is None else colours[visible]
    if (shown[..., 0] == shown[..., 1]).all() and (shown[..., 1] == shown[..., 2]).all():
        return _Stored(colours[..., 0], visible)
    return _Stored(colours, visible)


def _visible(pixels: NDArray[np.integer], clear: object) -> NDArray[np.bool_] | None:
    """False where pixels have the value that is transparent in a PNG file; None without one."""
    return pixels != clear if isinstance(clear, int) else None


def _kind(stored: _Stored, classes: Classes, grey: Callable[[], Grey]) -> Grey | None:
    """The meaning of pixels; None are colours, of their own or in a palette."""
    if stored.pixels.ndim == 3 or (stored.palette is not None and classes.palette is not None):
        return None
    return "numbers" if stored.scale == 0 or stored.palette is not None else grey()


def _table(kind: Grey | None, stored: _Stored, classes: Classes) -> NDArray[np.int32]:
    """The label of each number; of RGB pixels the labels of the colours of :func:`_known`."""
    if kind is None and stored.palette is None:
        return _known(classes)
    table = np.full(1 << 16 if stored.scale == 0 else 256, _UNKNOWN, np.int32)
    known = dict.fromkeys((VOID, *classes.void_values), VOID)
    if kind == "numbers":
        known |= dict(zip(classes.values, range(len(classes.names)), strict=True))
    elif kind == "mask":
        known = {0: 0, VOID // stored.scale: 1}
    elif kind == "colours":
        colours = ({VOID: VOID} | _grey_colours(classes)).items()
        known = {v // stored.scale: label for v, label in colours if v % stored.scale == 0}
    for value, label in known.items():
        if value < len(table):
            table[value] = label
    if kind is None and stored.palette is not None:
        labels = _of_colours(stored.palette[None], _known(classes))[0]
        table[: len(labels)] = np.where(labels == _UNKNOWN, table[: len(labels)], labels)
    return table


def _unknown(
    pixel: NDArray[np.integer], where: str, stored: _Stored, classes: Classes, source: Path
) -> str:
    """The message about a pixel that has no label."""
    if pixel.ndim:
        return (
            f"colour {hex_of(pixel)} {where} is not in {source}; add it there (void #rrggbb for "
            "void) or save the map without smoothing"
        )
    value = int(pixel)
    if stored.palette is not None and classes.palette is not None:
        within = value < len(stored.palette)
        colour = f"colour {hex_of(stored.palette[value])}" if within else "no colour"
        return (
            f"its palette has {colour} for label {value} {where}, which is not in {source}; "
            "correct either (void #rrggbb for void), or remove the colours from the list to read "
            "labels by number"
        )
    last = len(classes.names) - 1
    numbers = f"the numbers in {source}" if classes.numbered else f"the classes 0..{last}"
    voids = " and ".join(map(str, sorted({*classes.void_values, VOID})))
    return (
        f"label {value} {where} is outside {numbers} (void is {voids}); correct it or {source}, "
        f"whose first class has label {classes.values[0]}"
    )


def _known(classes: Classes) -> NDArray[np.int32]:
    """Codes of the colours of the classes and of void, ascending, and their labels: 2 x K."""
    assert classes.palette is not None
    known = {_code(np.array(colour)): label for label, colour in enumerate(classes.palette)}
    if classes.void:
        known[_code(np.array(classes.void))] = VOID
    return np.array(sorted(known.items()), np.int32).T


def _code(colours: NDArray[np.integer]) -> NDArray[np.int32] | int:
    """One number per colour."""
    red, green, blue = (colours[..., i].astype(np.int32) for i in range(3))
    code = (red << 16) + (green << 8) + blue
    return code if code.ndim else int(code)


def _of_colours(colours: NDArray[np.uint8], known: NDArray[np.int32]) -> NDArray[np.int32]:
    """The labels, H x W, of colours, H x W x 3."""
    (codes, labels), wanted = known, _code(colours)
    nearest = np.searchsorted(codes, wanted).clip(max=len(codes) - 1)
    return np.where(codes[nearest] == wanted, labels[nearest], _UNKNOWN).astype(np.int32)


def _used(pixels: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The numbers that occur, ascending."""
    used = np.zeros(256, bool)
    for top in range(0, len(pixels), _STRIP):
        used[pixels[top : top + _STRIP]] = True
    return np.flatnonzero(used)


def _grey_colours(classes: Classes) -> dict[int, int]:
    """The greys among the colours of the classes and of void, with their labels."""
    if classes.palette is None:
        return {}
    greys = {
        int(red): label
        for label, (red, green, blue) in enumerate(classes.palette)
        if red == green == blue
    }
    if classes.void and len(set(classes.void)) == 1:
        greys[classes.void[0]] = VOID
    return greys
