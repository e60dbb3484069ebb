"""The reasons why a module is loaded as it is, with a verdict on each place in order: `pycachehook explain`."""

import os
import time
from importlib.machinery import BuiltinImporter, ExtensionFileLoader, FrozenImporter, ModuleSpec, SourceFileLoader
from typing import Any

from pycachehook import hook, runtime
from pycachehook._compat import replaced_step
from pycachehook.cache_dir import WRITABLE
from pycachehook.content_store import Names, SharedStore
from pycachehook.errors import PycacheHookError
from pycachehook.events import ABSENT, ARCHIVE, IO_ERROR, LOCK_TIMEOUT, OTHER_MODE, STORE, UNTRUSTED, Miss, Stats
from pycachehook.loader import CachingLoader, Policy
from pycachehook.on_miss.compiling import refusal_of
from pycachehook.on_miss.single_flight import being_compiled
from pycachehook.path_search import LEFT_TO_STOCK_LOADER
from pycachehook.paths import SHARED, Layout, why_no_default_cache_dir
from pycachehook.store import Store
from pycachehook.system import READ_FLAGS, read_file

from .inspect import find_module
from .prospect import options_of_a_start, state_of_a_start
from .search_path import search_path_of_program
from .status import NOT_ACTIVE

HIT = "hit"


def explain(name: str, config: object = None, script: str | None = None) -> dict[str, Any]:
    """Return, as plain data with documented keys, how a module would be imported here.

    It is searched for from the current directory, as by `python -m`, or from a script's directory, as by `python
    SCRIPT`. Neither the module nor its parent packages are imported. Raises `PycacheHookError` if there is no such
    module, `ConfigError` for a wrong option.
    """
    with search_path_of_program(script):
        spec = find_module(name)
    active = hook.active()
    explanation: dict[str, Any] = {
        "module": name,
        "source": None,
        "active": active is not None,
        "ours": False,
        "why": None,
    }
    explanation |= {"rule": None, "options": {}, "places": [], "outcome": "left to CPython"}
    explanation["why"] = _why_never_cached(spec)
    if explanation["why"] is not None:
        return explanation
    loader: Any = spec.loader
    explanation["source"] = path = str(loader.path)
    if runtime.disabled_by_environment():
        explanation["why"] = "PYCACHEHOOK_DISABLE is set"
        return explanation
    options = options_of_a_start({}, config) if active is None else active.options
    if options is None:
        raise PycacheHookError("This interpreter caches no bytecode (it has no cache tag).")
    values = options.values()
    policy, number = _policy(path, values)
    explanation["options"] = options.as_dict()
    if number is not None:
        rule = values["rules"][number]
        explanation["rule"] = {key: list(value) if isinstance(value, tuple) else value for key, value in rule.items()}
        for key in set(rule) & set(explanation["options"]):
            explanation["options"][key] = {"value": rule[key], "origin": f"rule {number + 1}"}
    if policy is None:
        explanation["why"] = f"rule {(number or 0) + 1} excludes it"
        return explanation
    explanation["ours"] = True
    explanation["why"] = None if active is not None else NOT_ACTIVE
    explanation["places"], explanation["outcome"] = _places(policy, loader, explanation["options"])
    return explanation


def _why_never_cached(spec: ModuleSpec) -> str | None:  # noqa: PLR0911 -- one per kind
    """Return in a few words why a module is never cached, or None."""
    loader: Any = spec.loader
    if loader is BuiltinImporter:
        return "it is built into the interpreter"
    if loader is FrozenImporter:
        return "it is frozen: its code is in the interpreter"
    if loader is None or not spec.has_location:
        return "it is a namespace package, which has no code"
    if isinstance(loader, ExtensionFileLoader):
        return "it is an extension module"
    if type(loader) is not SourceFileLoader and not isinstance(loader, CachingLoader):
        return f"its loader is {type(loader).__module__}.{type(loader).__qualname__}, which is not the plain one for sources"
    if spec.name.rpartition(".")[2] in LEFT_TO_STOCK_LOADER:
        return "it compares the exact type of its loader"
    return None


def _policy(path: str, values: dict[str, Any]) -> tuple[Policy | None, int | None]:
    """Return the policy for a source, and the index of the rule that it comes from, or None."""
    current = runtime.installed()
    if current is not None:
        default, rules = current.policies.default, current.policies.rules
    else:  # the policies of a start; nothing is created
        cache_dirs = (rule.get("cache_dir", values["cache_dir"]) for rule in ({}, *values["rules"]))
        missing = not all(os.path.lexists(cache_dir) for cache_dir in cache_dirs if cache_dir is not None)
        composed = runtime.compose({**values, "strict": False}, Stats(), look_only=missing)
        default, rules = composed.default, composed.rules
    for number, (matches, policy) in enumerate(rules):
        if matches(path):
            return policy, number
    return default, None


def _places(policy: Policy, loader: Any, options: dict[str, Any]) -> tuple[list[dict[str, str]], str]:
    """Ask every place that an import would ask, and return their verdicts and the outcome."""
    path, cache_dir = str(loader.path), options["cache_dir"]["value"]
    store = policy.store
    step = replaced_step(loader)
    if step is not None:
        why = f"a tool has replaced {step!r} of the loader in this process"
        where = _where(store, path) if store is not None else path
        row = {"place": STORE, "path": where, "verdict": OTHER_MODE, "detail": why}
        return [row], f"compiled, and neither read nor stored: {why}"
    places: list[dict[str, str]] = []
    asked = [place for place in policy.places if place.name == ARCHIVE]
    layout = Layout.current()
    if store is None and layout is not None:
        names = Names(layout) if options["layout"]["value"] == SHARED else None
        asked.append(_Unusable(layout, cache_dir, names))  # type: ignore[arg-type]
    asked += [place for place in policy.places if place.name != ARCHIVE]
    for place in asked:
        where = _where(place, path)
        verdict, detail = HIT, ""
        try:
            place.find(path)
        except Miss as miss:
            verdict, detail = miss.reason, miss.detail
        except OSError as error:
            verdict, detail = IO_ERROR, f"the source: {error.strerror or error}"
        detail = "; ".join(filter(None, (detail, _age(where))))
        places.append({"place": place.name, "path": where, "verdict": verdict, "detail": detail})
        if verdict == HIT:
            return places, f"loaded from {place.name}"
        if verdict != ABSENT and place.may_write:
            break
    return places, _outcome_of_a_miss(store, loader, options)


def _where(place: Any, path: str) -> str:
    """Return the path of a place's entry for a source, or the path by name if the source cannot be read."""
    if isinstance(place, (SharedStore, _Unusable)):
        try:
            return place.location(path, read_file(path, READ_FLAGS)[0])
        except OSError:
            pass
    return str(place.path(path))


class _Unusable:
    """A substitute for the store if the cache directory is missing or refused."""

    name = STORE
    may_write = False

    def __init__(self, layout: Layout, cache_dir: str | None, names: Names | None) -> None:
        self._layout = layout
        self._cache_dir = cache_dir
        self._names = names  # None for the layout `mirror`

    def path(self, source_path: str) -> str:
        """Return the path that the entry would have, or "" if there is no cache directory."""
        if self._cache_dir is None:
            return ""
        return self._layout.mirrored(self._cache_dir, source_path)

    def location(self, source_path: str, source: bytes) -> str:
        """Return the path that the entry for a source with these bytes would have."""
        if self._names is None or self._cache_dir is None:
            return self.path(source_path)
        return self._names.entry(self._cache_dir, source)

    def find(self, _path: str) -> None:
        """Raise `Miss` with the reason why there is no store."""
        if self._cache_dir is None:
            raise Miss(UNTRUSTED, why_no_default_cache_dir() or "")
        current = runtime.installed()
        directory = None if current is None else current.cache_dirs.get(self._cache_dir)
        exists = os.path.lexists(self._cache_dir)
        otherwise = "the cache directory is refused" if exists else "there is no cache yet"
        raise Miss(UNTRUSTED if exists else ABSENT, (directory and directory.reason) or otherwise)


def _outcome_of_a_miss(  # noqa: PLR0911 -- one per case
    store: Store | None, loader: Any, options: dict[str, Any]
) -> str:
    if runtime.installed() is None and not os.path.exists(options["cache_dir"]["value"] or ""):
        status, reason = state_of_a_start({name: option["value"] for name, option in options.items()})
        return "compiled and stored" if status == WRITABLE else f"compiled, not stored: {reason}"
    if store is None:
        return "compiled, not stored: there is no cache that may be used"
    if store.directory.status != WRITABLE:
        return f"compiled, not stored: {store.directory.reason}"
    if store.read_only:
        return "compiled, not stored: read_only is set"
    if not store.may_write:
        return "compiled, not stored: Python was told to write no bytecode"
    path = str(loader.path)
    try:
        refusal = refusal_of(read_file(path, READ_FLAGS)[0])
    except OSError:
        refusal = None
    if refusal is not None:
        return f"compiled, not stored: {refusal}"
    if being_compiled(store.directory, _where(store, path)):
        seconds = store.directory.lock_time_left
        return f"loaded from store if the process that is compiling it ends within {seconds:g} s; else {LOCK_TIMEOUT}"
    return "compiled and stored"


def _age(path: str) -> str:
    try:
        seconds = time.time() - os.lstat(path).st_mtime
    except OSError:
        return ""
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"written or used {seconds / unit:.0f} {name} ago"
    return f"written or used {max(seconds, 0):.0f} seconds ago"
