"""The overlay: a photo blended with its label map, above a legend of the classes."""

import sys
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fcn.data.palettes import Palette
from fcn.predict.enlarge import Labels
from fcn.predict.nets import Pixels

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Shares = list[tuple[str, float]]  # classes with their share of the pixels, in percent

# Fonts with many scripts, the best first: of Linux distributions, macOS and Windows.
FONTS = (
    *("NotoSansCJK*", "NotoSansSC*", "NotoSansJP*", "NotoSansKR*", "SourceHanSans*", "wqy-*"),
    *("DroidSansFallback*", "unifont*", "PingFang*", "Hiragino*", "AppleSDGothicNeo*", "msyh*"),
    *("YuGoth*", "malgun*", "simsun*", "Arial Unicode*", "NotoSans-*", "NotoSans*", "*"),
)
FOLDERS: tuple[str, ...] = (
    *("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
    *("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts", r"C:\Windows\Fonts"),
)
_said: list[str] = []


class Named(Protocol):
    """Names and colours of classes, as a Segmenter has."""

    @property
    def classes(self) -> list[str]: ...

    @property
    def palette(self) -> Palette: ...


def page_size(height: int, width: int) -> tuple[int, int, int]:
    """The width of an overlay, then height and width of its photo, in pixels.

    The page is 800 to 1600 pixels wide. The photo is as wide or, if tall, 10/8 of that high.
    """
    fit = min(1.0, 1.25 * width / height)  # of the page's width
    page = round(min(1600, max(800, width / fit)))
    return page, max(1, round(fit * page * height / width)), max(1, round(fit * page))


def nearest(pixels: int, size: int) -> NDArray[np.intp]:
    """The pixels that remain of a row, or of a column, resized to ``size`` without blending."""
    return ((np.arange(size) + 0.5) * pixels / size).astype(np.intp)


def overlay(photo: Pixels, labels: Labels, segmenter: Named, found: Shares) -> Image.Image:
    """The photo blended with its labels' colours, above a legend of the classes ``found``."""
    page, height, width = page_size(*labels.shape)
    if photo.shape[:2] != (height, width):
        picture = Image.fromarray(photo).resize((width, height), Image.Resampling.BICUBIC)
        photo = np.asarray(picture)
    rows, columns = (nearest(n, m) for n, m in zip(labels.shape, (height, width), strict=True))
    return sheet(page, photo, labels[rows][:, columns], segmenter, found)


def sheet(page: int, photo: Pixels, labels: Labels, segmenter: Named, found: Shares) -> Image.Image:
    """:func:`overlay` of a photo and labels of the page's size (:func:`page_size`)."""
    colours = np.concatenate((segmenter.palette, np.zeros((1, 3), np.uint8)))  # void is black
    coloured = colours[np.minimum(labels, len(segmenter.palette))]
    blend = Image.blend(Image.fromarray(photo), Image.fromarray(coloured), 0.55)
    em = page // 64
    entries = [(name, share) for name, share in found if share >= 0.05]
    texts = readable([name for name, _ in entries], segmenter.classes, em)
    colour = dict(zip(segmenter.classes, map(tuple, segmenter.palette.tolist()), strict=True))
    lines = [
        (colour[name], runs(f"{text}  {share:.1f} %", em))
        for (name, share), text in zip(entries, texts, strict=True)
    ]
    widest = max((_length(line) for _, line in lines), default=0)
    columns = max(1, min(4, int(page / (widest + 4 * em))))
    line, column = 7 * em // 4, page // columns
    height = len(photo)
    made = Image.new("RGB", (page, height + em + line * -(-len(lines) // columns)), "white")
    made.paste(blend)
    draw = ImageDraw.Draw(made)
    for i, (fill, parts) in enumerate(lines):
        x, y = i % columns * column + em // 2, height + em + i // columns * line
        draw.rectangle((x, y, x + 2 * em, y + em - 1), fill=fill, outline="grey")
        left = x + 5 * em / 2
        for font, text in parts:
            draw.text((left, y + em // 2), text, fill="black", font=font, anchor="lm")
            left += font.getlength(text)
    return made


def _length(line: list[tuple[Font, str]]) -> float:
    return sum(font.getlength(text) for font, text in line)


def readable(names: Sequence[str], classes: Sequence[str], size: int) -> list[str]:
    """Class names as a legend can show them: on one line, in letters that some font here has.

    A class whose name has other letters is shown by its number in the label map, and a line on
    stderr says so, once per process.
    """
    texts, unknown = [], []
    for name in names:
        line = " ".join("".join(c if c.isprintable() else " " for c in name).split())
        if all(_visible(c) is False or font_of(c, size) for c in line):
            texts.append(line)
            continue
        unknown.append(name)
        rest = "".join(c for c in line if font_of(c, size)).strip()
        number = f"class {classes.index(name)}"
        texts.append(f"{rest} ({number})" if any(map(str.isalnum, rest)) else number)
    if unknown:
        _say_once(
            f'no font here has the letters of "{ascii_only(unknown[0])}": the legend shows class '
            "numbers; install one that has, such as Noto Sans CJK"
        )
    return texts


def runs(text: str, size: int) -> list[tuple[Font, str]]:
    """``text`` in parts, each with the font that has its letters."""
    fonts: list[Font] = []
    for c in text:  # marks stay with the letter before them
        font = fonts[-1] if fonts and not _visible(c) else font_of(c, size)
        fonts.append(font or _default(size))
    parts = groupby(zip(fonts, text, strict=True), key=lambda pair: pair[0])
    return [(font, "".join(c for _, c in group)) for font, group in parts]


def _visible(c: str) -> bool:
    """False for spaces, marks and joiners, which no font needs to have."""
    return unicodedata.category(c)[0] not in "MZC"


def font_of(c: str, size: int) -> Font | None:
    """The first font here that has the letter ``c``."""
    if _has(_default(size), c):
        return _default(size)
    return _opened(path, size) if (path := _other_with(c)) else None


@lru_cache(maxsize=10_000)
def _other_with(c: str) -> Path | None:
    for path in others():
        font = _opened(path, 20)
        if font and _has(font, c):
            return path
    return None


@lru_cache(maxsize=32)
def _default(size: int) -> Font:
    """DejaVu Sans from matplotlib's files or the system's; Pillow's own has little beyond ASCII."""
    found = find_spec("matplotlib")  # does not import it
    own = (
        [Path(found.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"]
        if found and found.origin
        else []
    )
    for path in (*own, Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")):
        if font := path.is_file() and _opened(path, size):
            return font
    return ImageFont.load_default(size)


@lru_cache(maxsize=64)
def _opened(path: Path, size: int) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(path, size)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=1)
def others() -> tuple[Path, ...]:
    """The other fonts of this machine, those with many scripts first; at most 200."""
    files = [
        path
        for folder in FOLDERS
        for path in sorted(Path(folder).expanduser().rglob("*"))
        if path.suffix.lower() in (".ttf", ".otf", ".ttc")
    ]
    ranked = [path for pattern in FONTS for path in files if path.match(pattern)]
    return tuple(dict.fromkeys(ranked))[:200]


def _has(font: Font, c: str) -> bool:
    """True if a font draws ``c`` differently from a letter that no font has."""
    try:
        drawn, missing = font.getmask(c), font.getmask("\U0010ffff")
    except (OSError, UnicodeError, ValueError):
        return False
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)


def ascii_only(text: str) -> str:
    """``text`` with other letters escaped, for a terminal of any encoding."""
    return text.encode("ascii", "backslashreplace").decode()


def _say_once(line: str) -> None:
    if not _said:
        _said.append(line)
        print("fcn:", line, file=sys.stderr)
