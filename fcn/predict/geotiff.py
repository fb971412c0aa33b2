"""Rasters with a georeference, in and out, through rasterio: an extra, imported if needed.

They are read and written in windows, so of any size. Pixels without data become void (255).
"""

import importlib.util
import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from PIL import Image

from fcn.data.palettes import Palette
from fcn.data.photos import decoding, used_bits
from fcn.environment import replacing, writing
from fcn.predict.enlarge import Labels
from fcn.predict.nets import Pixels

if TYPE_CHECKING:
    from rasterio.io import DatasetReader, DatasetWriter

SUFFIXES = (".tif", ".tiff")
_TAGS = (33922, 34264, 34735)  # tie points, transformation, key directory
MARK = "FCN"  # the tag, and the text of a PNG, that says what made it
_REMEDY = "save it again as a GeoTIFF with bands of 8 or 16 bits"


class Unreadable(ValueError):
    """A damaged raster, which may show late. The message names the file and the remedy."""


def find(path: Path) -> "Raster | None":
    """The raster in a file; None if it is no TIFF, or one without a georeference.

    Raises ValueError if it has one and rasterio is missing, or if its pixels are not colours.
    """
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return None
    if importlib.util.find_spec("rasterio") is None:
        if _has_georeference(path):
            raise ValueError(
                f"{path}: a GeoTIFF; to keep its georeference: pip install 'fcn-book[formats]'"
            )
        return None
    return Raster.open(path)


def _has_georeference(path: Path) -> bool:
    """True if Pillow finds the tags of a georeference."""
    try:
        with Image.open(path) as opened:
            tags: Any = getattr(opened, "tag_v2", {})
            return any(tag in tags for tag in _TAGS)
    except (OSError, ValueError, SyntaxError):
        return False


@dataclass(frozen=True)
class Raster:
    """A raster file as a photo, H x W x 3, read where it is indexed."""

    path: Path
    height: int
    width: int
    bands: tuple[int, ...]  # of red, green and blue, or one
    shift: int  # bits above the eight that are kept

    @classmethod
    def open(cls, path: Path) -> "Raster | None":
        """The raster in ``path``; None if it has no georeference or cannot be read as one."""
        import rasterio

        try:
            with _opened(path) as dataset:
                if dataset.crs is None and dataset.transform.is_identity and not dataset.gcps[0]:
                    return None
                bands = _colour_bands(dataset)
                kind = np.dtype(dataset.dtypes[0])
                shift = 0
                if kind == np.uint16:
                    size = [
                        max(1, n // max(1, math.isqrt(dataset.width * dataset.height) // 1024))
                        for n in dataset.shape
                    ]
                    seen = dataset.read(bands, out_shape=(len(bands), *size), masked=True)
                    shift = used_bits(seen.compressed()) - 8  # where there are data
                elif kind != np.uint8:
                    raise ValueError(f"{path}: its pixels are {kind}, not colours; {_REMEDY}")
                return cls(path, dataset.height, dataset.width, bands, shift)
        except rasterio.errors.RasterioIOError:
            return None  # Pillow may read it, or says what is wrong

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, 3."""
        return self.height, self.width, 3

    def __getitem__(self, part: tuple[slice, slice]) -> Pixels:
        rows, columns = (
            slice(*one.indices(n)[:2]) for one, n in zip(part, self.shape[:2], strict=True)
        )
        return self._read((rows.stop - rows.start, columns.stop - columns.start), (rows, columns))

    def shrunk(self, height: int, width: int) -> Pixels:
        """The whole raster at another size."""
        return self._read((height, width), None)

    def _read(self, size: tuple[int, int], part: tuple[slice, slice] | None) -> Pixels:
        from rasterio.enums import Resampling
        from rasterio.windows import Window

        window = None if part is None else Window.from_slices(*part)
        resampling = Resampling.average if size[0] < self.height else Resampling.bilinear
        with _decoding(self.path), _opened(self.path) as dataset:
            shape = (len(self.bands), *size)
            bands = dataset.read(self.bands, window=window, out_shape=shape, resampling=resampling)
            colours = _colormap(dataset)
        if colours is not None:
            return colours[bands[0]]
        pixels = (bands >> self.shift).clip(max=255).astype(np.uint8)
        return np.broadcast_to(pixels.transpose(1, 2, 0), (*size, 3))

    def masked(self, strips: Iterable[Labels]) -> Iterator[Labels]:
        """Labels, some rows at a time, void where the raster has no data."""
        from rasterio.windows import Window

        top = 0
        with _decoding(self.path):
            source = _opened(self.path)
        with source:
            for labels in strips:
                with _decoding(self.path):
                    mask = source.dataset_mask(window=Window(0, top, self.width, len(labels)))
                top += len(labels)
                yield np.where(mask, labels, np.iinfo(labels.dtype).max)

    def save(self, path: Path, strips: Iterable[Labels], colours: Palette, mark: str = "") -> None:
        """Write labels, some rows at a time, as a GeoTIFF with the raster's georeference.

        The void is the largest number of their type: 255, or 65535 beyond 255 classes. ``mark``: a
        tag of the file, see :func:`mark_of`.
        """
        from rasterio import open as open_raster
        from rasterio.windows import Window

        kind = np.min_scalar_type(len(colours))
        profile = {"driver": "GTiff", "count": 1, "dtype": kind.name, "nodata": np.iinfo(kind).max}
        profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
        profile |= {"BIGTIFF": "IF_SAFER"}
        with _decoding(self.path), _opened(self.path) as source:
            profile |= {"height": self.height, "width": self.width, "crs": source.crs}
            if not source.transform.is_identity:
                profile["transform"] = source.transform
            points = source.gcps
        sums: list[tuple[Window, int]] = []

        @contextmanager
        def create(partial: Path) -> Iterator["DatasetWriter"]:
            with open_raster(partial, "w", **profile) as made:
                yield made
            with _opened(partial) as read:  # GDAL does not say whether the disk held all of it
                if any(crc32(read.read(1, window=window)) != known for window, known in sums):
                    raise OSError("incomplete")

        with warnings.catch_warnings(action="ignore"), replacing(path, create) as made:
            with writing(path):
                if points[0]:
                    made.gcps = points
                if kind == np.uint8:
                    made.write_colormap(1, dict(enumerate(map(tuple, colours.tolist()))))
                if mark:
                    made.update_tags(**{MARK: mark})
            top = 0
            for labels in strips:
                window = Window(0, top, self.width, len(labels))
                labels = np.ascontiguousarray(labels, kind)
                sums.append((window, crc32(labels.data)))
                with writing(path):
                    made.write(labels, 1, window=window)
                top += len(labels)


def mark_of(path: Path) -> str:
    """The mark of a file that :meth:`Raster.save` wrote; empty if it has none.

    Raises ValueError if the file is damaged.
    """
    with _decoding(path), _opened(path) as dataset:
        return str(dataset.tags().get(MARK, ""))


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    try:
        with decoding(path, "photo", _REMEDY):
            yield
    except (OSError, ValueError) as error:
        raise Unreadable(str(error)) from None


def _opened(path: Path) -> "DatasetReader":
    import rasterio

    with warnings.catch_warnings(action="ignore"):  # of files without a georeference
        return rasterio.open(path)


def _colour_bands(dataset: "DatasetReader") -> tuple[int, ...]:
    """The numbers of the bands red, green and blue, or of the only one."""
    names = [one.name for one in dataset.colorinterp]
    if all(name in names for name in ("red", "green", "blue")):
        return tuple(names.index(name) + 1 for name in ("red", "green", "blue"))
    return (1, 2, 3) if dataset.count >= 3 else (1,)


def _colormap(dataset: "DatasetReader") -> Palette | None:
    """The colours of a raster of indices, 256 x 3; None if it has none."""
    if dataset.colorinterp[0].name != "palette":
        return None
    colours = np.zeros((256, 3), np.uint8)
    for index, colour in dataset.colormap(1).items():
        colours[index] = colour[:3]
    return colours
