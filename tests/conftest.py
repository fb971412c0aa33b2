"""Settings of all tests."""

import hypothesis

# How long an example takes says more about what else the machine does than about the code.
hypothesis.settings.register_profile("steady", deadline=None)
hypothesis.settings.load_profile("steady")
