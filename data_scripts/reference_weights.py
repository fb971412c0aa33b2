"""The nets released by the authors of the paper, as .caffemodel files, for scoring them again.

    python data_scripts/reference_weights.py [NAME ...] [--weights DIR]

NAME: such as voc-fcn8s; default: all fourteen, most of them half a gigabyte. DIR defaults to
FCN_WEIGHTS or ./data/weights.
"""

import checks
import fetch

FILES = {
    "voc-fcn32s": "fcn32s-heavy-pascal",
    "voc-fcn16s": "fcn16s-heavy-pascal",
    "voc-fcn8s": "fcn8s-heavy-pascal",
    "voc-fcn8s-atonce": "fcn8s-atonce-pascal",
    "voc-fcn-alexnet": "fcn-alexnet-pascal",
    "siftflow-fcn32s": "siftflow-fcn32s-heavy",
    "siftflow-fcn16s": "siftflow-fcn16s-heavy",
    "siftflow-fcn8s": "siftflow-fcn8s-heavy",
    "pascalcontext-fcn32s": "pascalcontext-fcn32s-heavy",
    "pascalcontext-fcn16s": "pascalcontext-fcn16s-heavy",
    "pascalcontext-fcn8s": "pascalcontext-fcn8s-heavy",
    "nyud-fcn32s-color": "nyud-fcn32s-color-heavy",
    "nyud-fcn32s-hha": "nyud-fcn32s-hha-heavy",
    "nyud-fcn32s-color-hha": "nyud-fcn32s-color-hha-heavy",
}
# From OpenCV's tests; the authors published none.
CHECKSUMS = {
    "voc-fcn32s": "sha1:05eb922d7829c39448f57e5ab9d8cd75d6c0be6d",
    "voc-fcn8s": "sha1:c449ea74dd7d83751d1357d6a8c323fcf4038962",
}
WEIGHTS = {
    name: fetch.Published(
        f"{file}.caffemodel",
        (f"http://dl.caffe.berkeleyvision.org/{file}.caffemodel",),
        CHECKSUMS.get(name),
    )
    for name, file in FILES.items()
}

if __name__ == "__main__":
    checks.run_weights(WEIGHTS, __doc__)
