"""Install the hook at the start of every child that runs with the hook."""

import os

if "CONFORMANCE_CACHE" in os.environ:
    import pycachehook
    import pycachehook.on_miss.compiling  # otherwise, in a source tree, the first compilation would count this one too

    pycachehook.install(os.environ["CONFORMANCE_CACHE"])
