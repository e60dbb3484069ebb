"""What a recorded start advises, against what following the advice saves.

    precompile     from a start with an empty cache to one with a full cache
    freeze         from `gc = "default"` to `gc = "freeze"`

Of an archive, a recording gives no number. Both sides are medians over the same rounds: the saving that each recording
predicts, and the difference between two starts that are not recorded. `noise` is the standard error of the latter, as
estimated from the quartiles: a saving below twice that is not resolved by so few rounds, and its factor is left out.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from pycachehook.commands import trace
from pycachehook.commands.trace_summary import advise

from .applications import Application
from .conditions import emptied
from .environment import Environment
from .measure import MILLISECONDS, Measurement, Record, Sample, Variant, measure, sample, times

DEFAULT = ("sympy", "sqlalchemy", "django")
ALLOWED = 1.5  # factor between a predicted and a measured saving

_RECORDED = "recorded "  # prefix of the names of variants
# Variants before and after, by the kind of advice.
FOLLOWED = {
    "precompile": ("cold", "store"),
    "freeze": ("store", "store, frozen"),
}


def run(environment: Environment, applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Compare the savings that recordings predict with those of starts that follow the advice."""
    predicted: dict[tuple[str, str], list[float]] = {}
    cases = {case: _variants(environment, case, each) for case, each in applications.items()}
    names = {id(variant): case for case, variants in cases.items() for variant in variants}

    def take(variant: Variant) -> Sample:
        if not variant.name.startswith(_RECORDED):
            return sample(variant)
        with tempfile.TemporaryDirectory() as folder:
            taken = sample(replace(variant, environment={**variant.environment, "PYCACHEHOOK_TRACE": folder}))
            process = max(trace.read(folder), key=lambda each: len(each.imports))
        for one in advise(process, least=0.0):
            if one.known and FOLLOWED[one.kind][0] == variant.name.removeprefix(_RECORDED):
                predicted.setdefault((names[id(variant)], one.kind), []).append(one.saving / 1000)
        return taken

    timed = measure(cases, rounds, "store", take=take)
    rows: list[Record] = []
    for case, series in timed.samples.items():
        for kind, (before, after) in FOLLOWED.items():
            pairs = zip(times(series, before, "wall"), times(series, after, "wall"), strict=True)
            differences = [MILLISECONDS * (one - other) for one, other in pairs]
            saved, noise = statistics.median(differences), _standard_error(differences)
            told = statistics.median(predicted.get((case, kind), [0.0]))
            row: Record = {"case": case, "advice": kind, "predicted ms": told, "saved ms": saved, "noise ms": noise}
            if min(told, saved) > 0 and saved > 2 * noise:
                row |= {"factor": max(told / saved, saved / told), "allowed": ALLOWED}
            rows.append(row)
    return Measurement({**timed.tables, "predicted and measured savings": rows}, timed.samples)


def _variants(environment: Environment, case: str, application: Application) -> list[Variant]:
    trees = environment.archived(case, application, "store", "store, frozen")
    found = [tree.variant(name, application.code) for name, tree in trees.items()]
    store = trees["store"]
    cold = store.variant("cold", application.code, condition=partial(emptied, store.cache))
    recorded = [replace(each, name=f"{_RECORDED}{each.name}") for each in (cold, found[0])]
    return [cold, *found, *recorded]


def _standard_error(values: Sequence[float]) -> float:
    """Return that of the median of normally distributed values, by their quartiles."""
    first, _, third = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else (0.0, 0.0, 0.0)
    return float(1.2533 * (third - first) / 1.349 / len(values) ** 0.5)
