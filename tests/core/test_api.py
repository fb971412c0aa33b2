"""The public names of the package, imported on first use."""

import subprocess
import sys

import pytest

import fcn


def test_the_public_names():
    assert fcn.FCN("googlenet", stride=32, num_classes=2, width=0.1).classes == {"scores": 2}
    assert fcn.metrics.ConfusionMatrix(3).num_classes == 3
    assert fcn.receptive_field(fcn.FCN("vgg16", 32, 2, width=0.05)).size == 404
    assert callable(fcn.load)
    assert {"FCN", "load", "metrics", "receptive_field"} <= set(dir(fcn))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'fcn' has no attribute 'FCM'"):
        fcn.FCM  # noqa: B018


def test_importing_the_package_imports_no_torch():
    code = "import sys, fcn; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
