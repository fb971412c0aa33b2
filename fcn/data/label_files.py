"""Label maps as the data sets store them: palette PNGs and MATLAB files. What is said of broken ones is one line."""

from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray
from PIL import Image


def read_png(path: str | Path) -> NDArray[np.uint8]:
    """A label map stored as a palette or grey PNG, H x W: the index of each pixel, not its colour.

    Raises FileNotFoundError where there is no such file and ValueError where it is no PNG of one index a pixel.
    """
    path = Path(path)
    try:
        with Image.open(path) as opened:
            if opened.mode not in ("P", "L"):
                raise ValueError(f"its pixels are colours ({opened.mode}), not indices of classes")
            return np.array(opened)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such label map; unpack the data set again") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: cannot be read as a label map ({reason}); unpack the data set again") from None


def read_mat(path: str | Path, variable: str, data_set: str) -> NDArray[Any]:
    """A variable of a MATLAB file, as it is stored.

    Raises FileNotFoundError where there is no such file and ValueError where it is no MATLAB file or lacks the
    variable; ``data_set`` is named then.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such label map; unpack {data_set} again")
    try:
        return scipy.io.loadmat(path, variable_names=[variable])[variable]
    except KeyError:
        raise ValueError(
            f"{path}: holds no variable {variable}, so it is no label map of {data_set}; unpack it again"
        ) from None
    except Exception as error:  # scipy raises errors of many kinds for a file that is cut short
        raise ValueError(
            f"{path}: cannot be read as a MATLAB file ({type(error).__name__}); it is truncated or corrupt, "
            f"unpack the data set again"
        ) from None
