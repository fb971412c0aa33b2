"""ImageNet classifiers for initialising the nets, as .caffemodel files.

    python data_scripts/imagenet_weights.py [NAME ...] [--weights DIR]

NAME: caffenet, vgg16, googlenet or bvlc_alexnet; default: all. DIR defaults to FCN_WEIGHTS or
./data/weights.
"""

import checks
import fetch

_CAFFE = "http://dl.caffe.berkeleyvision.org"
_VGG = "www.robots.ox.ac.uk/~vgg/software/very_deep/caffe/VGG_ILSVRC_16_layers.caffemodel"
WEIGHTS = {
    "caffenet": fetch.Published(
        "bvlc_reference_caffenet.caffemodel",
        (f"{_CAFFE}/bvlc_reference_caffenet.caffemodel",),
        "sha1:4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46",
    ),
    "bvlc_alexnet": fetch.Published(
        "bvlc_alexnet.caffemodel",
        (f"{_CAFFE}/bvlc_alexnet.caffemodel",),
        "sha1:9116a64c0fbe4459d18f4bb6b56d647b63920377",
    ),
    "vgg16": fetch.Published(
        "VGG_ILSVRC_16_layers.caffemodel",
        (f"https://{_VGG}", f"http://{_VGG}"),
        "sha1:9363e1f6d65f7dba68c4f27a1e62105cdf6c4e24",
    ),
    "googlenet": fetch.Published(
        "bvlc_googlenet.caffemodel",
        (
            f"{_CAFFE}/bvlc_googlenet.caffemodel",
            "https://www.deepdetect.com/downloads/platform/pretrained/caffe/googlenet/bvlc_googlenet.caffemodel",
        ),
        "sha1:405fc5acd08a3bb12de8ee5e23a96bec22f08204",
    ),
}

if __name__ == "__main__":
    checks.run_weights(WEIGHTS, __doc__)
