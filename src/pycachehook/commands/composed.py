"""What option values come to, for the processes of a command: composed once, in the command's own.

Those processes get it pickled, and neither look at the cache directories again nor open an archive.
"""

import copyreg

from pycachehook.content_store import Names
from pycachehook.loader import Policies
from pycachehook.patterns import matcher
from pycachehook.runtime import Composition
from pycachehook.store import InTree


class Composed:
    """The policies of a composition without archives."""

    def __init__(self, composition: Composition) -> None:
        self._default = composition.default
        patterns = [rule["match"] for rule in composition.values["rules"]]
        self._rules = [(match, policy) for match, (_, policy) in zip(patterns, composition.rules, strict=True)]

    def policies(self) -> Policies:
        """Return the policies, for lookups in this process."""
        policies = Policies()
        policies.replace(self._default, tuple((matcher(match), policy) for match, policy in self._rules))
        return policies


# Functions and hash objects cannot be pickled: a worker creates objects that hold them anew, from their arguments.
copyreg.pickle(InTree, lambda place: (InTree, place.arguments))
copyreg.pickle(Names, lambda names: (Names, names.arguments))
