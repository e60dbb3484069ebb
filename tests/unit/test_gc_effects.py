"""What the deallocation of objects may do outside the process."""

from __future__ import annotations

import abc
import array
import ctypes
import enum
import functools
import gc
import logging
import mmap
import os
import re
import select
import threading
import weakref
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import pytest

from pycachehook.gc_effects import callbacks_could_act, is_inert


@pytest.mark.parametrize(
    ("reference", "acts"),
    [
        ("weakref.ref(item, id)", True),
        ("weakref.proxy(item, id)", True),
        ("weakref.WeakMethod(item.method, id)", True),
        ("weakref.ref(item, functools.wraps(weakref.WeakSet.add)(lambda _: None))", True),
        ("weakref.WeakMethod(item.method)", True),  # its callback may call another
        ("weakref.ref(item), weakref.proxy(item), logging.StreamHandler()", False),
        (
            "weakref.WeakSet([item]), weakref.WeakKeyDictionary({item: 1}), weakref.WeakValueDictionary({1: item})",
            False,
        ),
    ],
)
def test_callbacks_that_have_no_effect(reference: str, *, acts: bool) -> None:
    """Callbacks that only update a container have no effect; any other may have one."""

    class Item:
        def method(self) -> None:
            pass

    item = Item()
    before = {id(each) for each in gc.get_objects()}
    kept = eval(reference, {"item": item, "weakref": weakref, "functools": functools, "logging": logging})
    made = [each for each in gc.get_objects() if id(each) not in before]
    assert callbacks_could_act(made, set(map(type, made))) is acts
    del kept


class Point(NamedTuple):
    """A class without fields of its own."""

    x: int


def test_types_without_effects() -> None:
    """A class that Python code defines is as inert as its base; types of extensions are not inert unless they are known."""
    inert = [int, list, OrderedDict, Path, type(re.compile("")), enum.Enum, type(threading.Lock()), threading.Thread]
    inert += [type("Slots", (dict,), {"__slots__": ("a", "b")}), abc.ABCMeta, functools.partial, ValueError]
    unknown: list[type] = [mmap.mmap, type("Sub", (mmap.mmap,), {}), ctypes.Structure, type(zlib.compressobj())]
    unknown += [type("Claims", (mmap.mmap,), {"__module__": "builtins"}), array.array, select.epoll]
    for name in (
        "HeapCType",
        "HeapGcCType",
        "ContainerNoGC",
        "HeapCTypeWithWeakref",
    ):  # C types: attributes, or nothing
        unknown += [getattr(pytest.importorskip("_testcapi"), name, mmap.mmap)]
    inert += [Point, os.stat_result, type("Sub", (OrderedDict,), {})]
    assert [kind for kind in inert if not is_inert(kind)] == []
    assert [kind for kind in unknown if is_inert(kind)] == []
