"""The buttons of the repository appear once its address is set."""

from types import SimpleNamespace

import pages
import pytest


@pytest.mark.parametrize("address", ["", "https://github.com/someone/fcn"])
def test_buttons_appear_with_the_address(address):
    theme = {"repository_url": address, "path_to_docs": "book"}
    pages.set_buttons(None, SimpleNamespace(html_theme_options=theme))
    buttons = ("use_repository_button", "use_edit_page_button", "use_issues_button")
    assert [theme[button] for button in buttons] == [bool(address)] * 3
    assert bool(theme["launch_buttons"]) == bool(address)
