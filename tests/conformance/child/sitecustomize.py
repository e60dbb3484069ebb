"""Run at the start of every child: on our side, with the hook; on the stock side, without."""

import os

if "CONFORMANCE_CACHE" in os.environ:
    import pycachehook
    import pycachehook.on_miss.compiling  # or, in a source tree, the first compilation would count this one too

    pycachehook.install(os.environ["CONFORMANCE_CACHE"])
