"""The archive's format byte by byte, refused archives, and damage, which gives the right code or none."""

from __future__ import annotations

import hashlib
import marshal
import mmap
import os
import random
import sys
import zipfile
from importlib.machinery import ExtensionFileLoader, FileFinder, PathFinder, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycachehook import archive, pyc
from pycachehook._compat import MAGIC_NUMBER, siphash, source_hash
from pycachehook.archive import Archive, ArchivedModules, Listings, Unusable, open_all
from pycachehook.archive_format import ARCHIVE_FORMAT, INDEX_KEY, INDEX_NAME, TAIL_SIZE, named_roots
from pycachehook.cache_dir import trusted_owners
from pycachehook.commands import archive_build, archive_verify
from pycachehook.errors import CacheDirError, PycacheHookError
from pycachehook.events import Miss, Stats
from pycachehook.finder import CachingFinder
from pycachehook.loader import CachingLoader, Policies, Policy
from pycachehook.path_search import NOT_FOUND, find_in_listings
from pycachehook.pyc import READ_SIZE
from pycachehook.runtime import listings_of
from pycachehook.system import system

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Tree = Callable[[Mapping[str, str]], Path]

SOURCES = {
    "app.py": "import pk.sub.deep\n",
    "pk/__init__.py": "NAME = 'pk'\n",
    "pk/sub/__init__.py": "",
    "pk/sub/deep.py": "def deep():\n    return 'deep'\n",
    "space/part.py": "PART = 1\n",
    "both.py": "KIND = 'module'\n",
    "both/__init__.py": "KIND = 'package'\n",
    "broken.py": "def (:\n",
    "bare.pyc": "not looked into",
    f"native.{sys.implementation.cache_tag}-fake.so": "",
    "native2.so": "",
}


def build(root: Path, out: Path, mode: str = "unchecked-hash", **options: object) -> Archive:
    """Build an archive of everything below `root`, and open it."""
    files = sorted(str(path) for path in root.rglob("*.py"))
    archive_build.build(str(out), files, paths=[str(root)], mode=mode, **options)  # type: ignore[arg-type]
    return Archive(str(out), trusted_owners())


@pytest.fixture
def root(tree: Tree) -> Path:
    """Return a directory with modules of every kind."""
    return tree(SOURCES)


@pytest.fixture
def built(root: Path, tmp_path: Path) -> Archive:
    """Return an open archive of `root`."""
    return build(root, tmp_path / "app.pyca")


def test_the_format(built: Archive, root: Path) -> None:
    """Every byte is what the docstring of `archive_format` says."""
    data = Path(built.path_name).read_bytes()
    tail = data[-TAIL_SIZE:].decode()
    first, index, digest = tail.split("\n")
    assert first == "pycachehook archive 1"
    assert digest == f"blake2b {hashlib.blake2b(data[:-64], digest_size=32).hexdigest()}"
    word, beginning, offset, size, expected = index.split()
    with zipfile.ZipFile(built.path_name) as whole:
        assert whole.read(INDEX_NAME) == data[int(beginning, 16) : int(offset, 16) + int(size, 16)]
    top = data[int(offset, 16) :][: int(size, 16)]
    assert (word, siphash(INDEX_KEY, top).hex()) == ("index", expected)
    magic, tag, optimization, mode, start, roots = marshal.loads(top)
    assert (magic, tag, optimization) == (MAGIC_NUMBER, sys.implementation.cache_tag, sys.flags.optimize)
    assert (mode, start) == ("unchecked-hash", 0)
    ((name, location, names, branches),) = roots
    assert (name, location) == ("application", "tree")
    assert names == siphash(INDEX_KEY, "\0".join(sorted(os.listdir(root))).encode())
    assert sorted(branches) == ["", "both", "pk", "space"]

    def read(position: int, length: int, found: bytes) -> Any:
        part = data[position:][:length]
        assert siphash(INDEX_KEY, part) == found
        return marshal.loads(part)

    assert sorted(read(*branches["pk"])) == ["pk", "pk/sub"]
    listed = read(*read(*branches[""])[""])
    assert list(listed) == ["app", "bare", "both", "broken", "native2", "pk", "space"]
    assert [listed[each] for each in ("bare", "broken", "native2", "space")] == [False, False, ".so", False]
    position, length, is_package = listed["pk"]
    assert is_package
    assert position % 16 == 0
    entry = data[position:][:length]
    flags, stamp, check, code = pyc.load(entry, str(root / "pk/__init__.py"))
    assert (flags, stamp) == (pyc.FLAGS["unchecked-hash"], source_hash(b"NAME = 'pk'\n"))
    assert check == pyc.second_hash(b"NAME = 'pk'\n")
    assert code == compile("NAME = 'pk'\n", root / "pk/__init__.py", "exec", dont_inherit=True)
    assert pyc.is_sealed(entry)


def test_it_is_an_ordinary_zip(built: Archive) -> None:
    """An archive can be read by any program for ZIP files."""
    suffix = f"{sys.implementation.cache_tag}.pyc"
    with zipfile.ZipFile(built.path_name) as whole:
        assert whole.testzip() is None
        infos = whole.infolist()
        assert {each.compress_type for each in infos} == {zipfile.ZIP_STORED}
        assert {each.date_time for each in infos} == {(1980, 1, 1, 0, 0, 0)}
        names = whole.namelist()
    assert names[-1] == INDEX_NAME
    assert f"application/pk/sub/deep.{suffix}" in names


def test_a_profile_comes_first(root: Path, tmp_path: Path) -> None:
    """The sources of a profile come first, in its order, and the top records where they end."""
    profile = [str(root / "pk/sub/deep.py"), "/gone.py", str(root / "app.py")]
    opened = build(root, tmp_path / "app.pyca", profile=profile)
    assert [each.source for each in archive_verify.entries(opened)][:2] == ["pk/sub/deep.py", "app.py"]
    first, second, third = [*archive_verify.entries(opened)][:3]
    assert first.offset + first.size < second.offset + second.size == opened.start < third.offset


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/smaps")
def test_what_has_been_loaded_does_not_stay_mapped(tree: Tree, tmp_path: Path) -> None:
    """Loading an archive of 16 MiB forwards and backwards leaves only a few MiB of it in this process's memory."""
    names = [f"big{number:02}" for number in range(16)]
    root = tree({f"{name}.py": f"NAME = {name!r}\nTEXT = {'x' * 2**20!r}\n" for name in names})
    opened = build(root, tmp_path / "big.pyca")
    for name in [*names, *reversed(names)]:
        assert opened.find(str(root / f"{name}.py")).co_consts[0] == name
    maps = Path("/proc/self/smaps").read_text(encoding="utf-8").partition(opened.path_name)[2].splitlines()
    resident = next(int(line.split()[1]) for line in maps if line.startswith("Rss:"))
    assert resident < 8 * 1024  # KiB


def test_two_builds_are_the_same_bytes(root: Path, tmp_path: Path) -> None:
    """Two builds give the same bytes, with any number of processes."""
    first, second = tmp_path / "one" / "app.pyca", tmp_path / "two" / "app.pyca"
    for each, jobs in ((first, 1), (second, 3)):
        each.parent.mkdir()
        build(root, each, jobs=jobs)
    assert first.read_bytes() == second.read_bytes()


def test_constants_that_are_one_object_stay_one(root: Path, tmp_path: Path) -> None:
    """Code from an archive has as many objects as code from a pyc, in which equal names and tuples are one object."""
    source = "".join(f"def function_{i}(argument, other='x y'):\n    return other, 'x y', {i}\n" for i in range(100))
    (root / "many.py").write_text(source)
    found = build(root, tmp_path / "many.pyca").find(str(root / "many.py"))
    pyc_data = marshal.dumps(compile(source, str(root / "many.py"), "exec", dont_inherit=True))
    assert marshal.dumps(found) == marshal.dumps(marshal.loads(pyc_data))


def test_code_and_its_file_name(built: Archive, root: Path) -> None:
    """The code runs and names its source; a module that is not in the archive is a miss."""
    code = built.find(str(root / "pk/sub/deep.py"))
    assert code.co_filename == str(root / "pk/sub/deep.py")
    assert built.path(code.co_filename).endswith(f"/application/pk/sub/deep.{sys.implementation.cache_tag}.pyc")
    for name in ("broken.py", "nothing.py", "pk.py", "bare.pyc", "both.py", "elsewhere/x.py"):
        with pytest.raises(Miss) as caught:
            built.find(str(root / name))
        assert caught.value.reason == "absent"
    assert built.find(str(root / "both/__init__.py")).co_consts[0] == "package"


def test_an_application_moves_with_its_archive(root: Path, tmp_path: Path) -> None:
    """A root below the archive's directory is located relative to the archive."""
    build(root, tmp_path / "app.pyca")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "app.pyca").rename(moved / "app.pyca")
    root.rename(moved / "tree")
    code = Archive(str(moved / "app.pyca"), trusted_owners()).find(str(moved / "tree/pk/sub/deep.py"))
    assert code.co_filename == str(moved / "tree/pk/sub/deep.py")
    function = next(each for each in code.co_consts if hasattr(each, "co_filename"))
    assert function.co_filename == code.co_filename


def test_a_root_that_changed_is_not_used(root: Path, tmp_path: Path) -> None:
    """A root with changed names is not used under `unchecked-hash`, but still is under `checked-hash`."""
    unchecked, checked = build(root, tmp_path / "u.pyca"), build(root, tmp_path / "c.pyca", "checked-hash")
    assert unchecked.reason is None
    assert unchecked.find(str(root / "space/part.py"))  # must not be remembered
    (root / "new.py").touch()
    for opened in (unchecked, Archive(unchecked.path_name, trusted_owners())):
        opened.check_roots()
        with pytest.raises(Miss) as caught:
            opened.find(str(root / "space/part.py"))
        assert (caught.value.reason, opened.listing(str(root))) == ("absent", None)
        assert "no longer what it was" in caught.value.detail
        assert str(opened.reason).startswith(f"The archive {unchecked.path_name} is not used for application:")
    assert Archive(checked.path_name, trusted_owners()).find(str(root / "space/part.py"))


def test_a_directory_named_with_a_slash_at_its_end(built: Archive, root: Path) -> None:
    """A path entry with a trailing slash is left to PathFinder; its modules have their usual names."""
    assert built.listing(str(root)) is not None
    assert built.listing(f"{root}/") is None


def test_a_name_that_ends_with_a_dot(built: Archive, root: Path) -> None:
    """Its last part is empty, and nothing is found by it."""
    archived = ArchivedModules(Listings((built,)))
    assert find_in_listings("pk.sub", [str(root / "pk")], archived=archived).origin == str(root / "pk/sub/__init__.py")
    assert find_in_listings("pk.", [str(root / "pk")], archived=archived) is NOT_FOUND


def test_an_archive_in_its_own_root(root: Path) -> None:
    """An archive in its own root, and its temporary file, do not change the root, so it can be built again."""
    for _ in range(2):
        opened = build(root, root / "app.pyca")
        assert opened.reason is None
        assert opened.find(str(root / "pk/__init__.py"))


def test_a_root_in_another_that_changed(root: Path, tmp_path: Path) -> None:
    """A changed root inside another root is not served from the outer root either."""
    files = sorted(str(path) for path in root.rglob("*.py"))
    paths = [str(root / "pk"), str(root)]
    archive_build.build(str(tmp_path / "app.pyca"), files, paths=paths, mode="unchecked-hash")
    opened = Archive(str(tmp_path / "app.pyca"), trusted_owners())
    listed = [each.source for each in archive_verify.entries(opened)]
    assert sorted(listed) == [
        "__init__.py",
        "app.py",
        "both/__init__.py",
        "space/part.py",
        "sub/__init__.py",
        "sub/deep.py",
    ]
    assert opened.find(str(root / "pk/sub/deep.py"))
    (root / "pk/new.py").touch()
    changed = Archive(str(tmp_path / "app.pyca"), trusted_owners())
    assert changed.listing(str(root)) is not None
    assert changed.listing(str(root / "pk/sub")) is None
    archived = ArchivedModules(Listings((changed,)))
    assert find_in_listings("app", [str(root)], archived=archived).origin == str(root / "app.py")
    assert find_in_listings("pk", [str(root)], archived=archived) is None


def test_the_current_directory_after_invalidate_caches(
    built: Archive, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `invalidate_caches()` the current directory is listed again, even if its mtime has not changed."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    policies = Policies()
    policies.archived = ArchivedModules(Listings((built,)))
    path = ["", str(root)]
    assert find_in_listings("app", path, archived=policies.archived).origin == str(root / "app.py")
    before = here.stat().st_mtime_ns
    (here / "app.py").touch()
    os.utime(here, ns=(before, before))
    CachingFinder(policies).invalidate_caches()
    assert find_in_listings("app", path, archived=policies.archived).origin == str(here / "app.py")


def finder_of(*archives: Archive) -> tuple[CachingFinder, Stats]:
    """Return a finder with these archives and no store, and its counters."""
    stats, policies = Stats(), Policies()
    policies.replace(Policy(archives, None, stats), listings=listings_of(archives))
    return CachingFinder(policies), stats


def test_the_finder_with_an_archive_that_checks_sources(root: Path, tmp_path: Path) -> None:
    """Under `checked-hash` directories and sources are read, so added and changed sources are found."""
    finder, stats = finder_of(build(root, tmp_path / "c.pyca", "checked-hash"))

    def code_of(name: str, *path: str) -> tuple[Any, Any]:
        sys.path_importer_cache.pop(str(root.joinpath(*path)), None)
        spec = finder.find_spec(name, [str(root.joinpath(*path))])
        assert spec is not None
        loader: Any = spec.loader
        return loader, loader.get_code(name)

    for name, *path in (("app",), ("pk",), ("pk.sub", "pk"), ("pk.sub.deep", "pk", "sub")):
        loader, code = code_of(name, *path)
        assert code.co_filename == loader.path
    assert stats.hits_by_place == {"archive": 4, "store": 0, "in_tree": 0}
    (root / "pk/new.py").write_text("new = 1\n")
    assert code_of("pk.new", "pk")[1].co_names == ("new",)
    (root / "app.py").write_text("changed = 1\n")
    assert code_of("app")[1].co_names == ("changed",)
    assert stats.misses == {"absent": 1, "stale-source": 1}
    (root / "app.abi3.so").touch()
    sys.path_importer_cache.pop(str(root))
    spec = finder.find_spec("app", [str(root)])
    assert spec is not None
    assert type(spec.loader) is ExtensionFileLoader


@pytest.mark.skipif(os.name == "nt", reason="has no pipes in directories")
@pytest.mark.parametrize("what", ["directory", "dangling link", "pipe"])
def test_what_is_no_file_any_more(what: str, root: Path, tmp_path: Path) -> None:
    """A listed name that is no longer a file is skipped, and the search continues, as in PathFinder."""
    finder, _ = finder_of(build(root, tmp_path / "c.pyca", "checked-hash"))
    further = tmp_path / "further"
    further.mkdir()
    (further / "app.py").touch()
    source = root / "app.py"
    source.unlink()
    if what == "directory":
        source.mkdir()
    elif what == "pipe":
        os.mkfifo(source)
    else:
        source.symlink_to("nowhere")
    assert finder.find_spec("app", [str(root)]) is None
    spec = finder.find_spec("app", [str(root), str(further)])
    assert spec is not None
    assert spec.origin == str(further / "app.py")


def test_a_directory_for_which_a_tool_has_loaders_of_its_own(root: Path, tmp_path: Path) -> None:
    """A tool's path hook loads the modules of its directories, even after the hook has been removed again."""

    class OwnLoader(SourceFileLoader):
        """A loader of another tool."""

    finder, _ = finder_of(build(root, tmp_path / "c.pyca", "checked-hash"))
    sys.path_importer_cache[str(root)] = FileFinder(str(root), (OwnLoader, [".py"]))
    for name in ("app", "pk"):
        spec = finder.find_spec(name, [str(root)])
        assert spec is not None
        assert type(spec.loader) is OwnLoader


def test_what_comes_later_to_a_directory_that_nobody_looks_at(
    built: Archive, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module added to an unchecked root is found and cached; the next start sees that the root has changed."""
    finder, _ = finder_of(built)
    monkeypatch.setattr(sys, "meta_path", [finder, PathFinder])
    monkeypatch.setattr(sys, "path", [str(root)])
    for where, name, kind in ((root, "late", SourceFileLoader), (root / "pk/sub", "pk.sub.late", CachingLoader)):
        path = None if where == root else [str(where)]
        sys.path_importer_cache.pop(str(where), None)
        assert finder.find_spec(name, path) is None
        assert PathFinder.find_spec(name, path) is None
        (where / "late.py").touch()
        os.utime(where, ns=(1, 1))
        spec = finder.find_spec(name, path) or PathFinder.find_spec(name, path)
        assert spec is not None
        assert (spec.origin, type(spec.loader)) == (str(where / "late.py"), kind)


def test_a_spec_that_outlives_its_archive(root: Path, tmp_path: Path) -> None:
    """The loader of an older spec uses the archives that are installed now."""
    stats, policies = Stats(), Policies()
    first, second = (build(root, tmp_path / name) for name in ("a.pyca", "b.pyca"))
    policies.replace(Policy((first,), None, stats), listings=listings_of((first,)))
    spec = CachingFinder(policies).find_spec("app", [str(root)])
    assert spec is not None
    loader: Any = spec.loader
    assert loader.get_code("app").co_filename == str(root / "app.py")
    for places, hits in (((second,), 2), ((), 2)):
        policies.replace(Policy(places, None, stats), listings=listings_of(places))
        assert loader.get_code("app").co_filename == str(root / "app.py")
        assert stats.hits == hits
    assert stats.compiled == 1


def test_paths_of_windows(built: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths on Windows use its separator, while member names use `/`."""
    built.roots[0].directory = "C:\\app"
    monkeypatch.setattr(archive, "SEP", "\\")
    assert built.find("C:\\app\\pk\\sub\\deep.py").co_filename == "C:\\app\\pk\\sub\\deep.py"
    assert built.path("C:\\app\\pk\\sub\\deep.py").endswith(f"/application/pk/sub/deep{built.member_suffix}")


def test_mapping_on_windows(built: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows `mmap` is called without the parameter that it lacks in Python 3.13 and 3.14."""
    map_file = mmap.mmap

    def windows_mmap(fileno: int, length: int, tagname: None = None, access: int = 0, offset: int = 0) -> mmap.mmap:
        assert tagname is None
        return map_file(fileno, length, access=access, offset=offset)

    with monkeypatch.context() as patched:
        patched.setattr("pycachehook.archive.mmap.mmap", windows_mmap)
        patched.setattr(system, "version", (3, 13))
        patched.setattr(system, "windows", True)
        assert Archive(built.path_name, ()).mode == built.mode


def test_sources_are_compared_under_checked_hash_alone(root: Path, tmp_path: Path) -> None:
    """Sources are compared under `checked-hash` and by `archive verify --sources`, and not otherwise."""
    unchecked, checked = build(root, tmp_path / "u.pyca"), build(root, tmp_path / "c.pyca", "checked-hash")
    (root / "pk/sub/deep.py").write_text("changed = True\n")
    (root / "app.py").unlink()
    assert unchecked.find(str(root / "pk/sub/deep.py"))
    with pytest.raises(Miss) as caught:
        checked.find(str(root / "pk/sub/deep.py"))
    assert caught.value.reason == "stale-source"
    with pytest.raises(FileNotFoundError):
        checked.find(str(root / "app.py"))
    found = archive_verify.verify_archive(checked, sources=True)
    assert [bad[:2] for bad in found.bad] == [
        ("application/app.py", "orphaned"),
        ("application/pk/sub/deep.py", "stale-source"),
    ]
    assert archive_verify.verify_archive(checked, sources=False).bad == []


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_source_that_one_reading_does_not_bring(beyond: int, root: Path, tmp_path: Path) -> None:
    """The part of a source after the first read is compared as well."""
    source, text = root / "app.py", f"{'#' * (READ_SIZE + beyond - 1)}\n"
    source.write_text(text)
    checked = build(root, tmp_path / "c.pyca", "checked-hash")
    for changed in (f"{text}#", text[:-1], f"{text[:-1]}#"):
        assert checked.find(str(source))
        source.write_text(changed)
        with pytest.raises(Miss, match="stale-source"):
            checked.find(str(source))
        source.write_text(text)


def test_every_flip_and_cut_gives_the_right_code_or_none(root: Path, tmp_path: Path) -> None:
    """A thousand random bit flips and truncations give the right code or a miss, and no other exception."""
    path = tmp_path / "app.pyca"
    right = {name: build(root, path).find(str(root / name)) for name in ("app.py", "pk/__init__.py", "pk/sub/deep.py")}
    whole = path.read_bytes()
    dice = random.Random(1)
    refused = missed = 0
    for number in range(1000):
        damaged = bytearray(whole)
        if number % 10 == 0:
            del damaged[dice.randrange(len(whole)) :]
        else:
            damaged[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        path.unlink()  # the old file is still mapped
        path.write_bytes(damaged)
        try:
            opened = Archive(str(path), trusted_owners())
        except Unusable:
            refused += 1
            continue
        for name, code in right.items():
            try:
                assert opened.find(str(root / name)) == code
            except Miss:
                missed += 1
        try:
            bad = archive_verify.verify_archive(opened, sources=False).bad
        except PycacheHookError:
            continue
        assert bad, f"flip {number} went unnoticed"
    assert refused > 100
    assert missed > 100


def test_refusals(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused archive gives one sentence, which is an exception under `strict` only."""
    path = tmp_path / "app.pyca"
    for content, expected in ((None, "cannot be opened: No such file"), (b"PK", "is damaged, or is no archive")):
        if content is not None:
            path.write_bytes(content)
        (refused,) = open_all([str(path)], allow_shared=False, strict=False)
        assert not refused.usable
        assert expected in str(refused.reason)
        with pytest.raises(CacheDirError, match=expected):
            open_all([str(path)], allow_shared=False, strict=True)
    (refused,) = open_all(["/\ud800"], allow_shared=False, strict=False)  # a name that the file system cannot have
    assert "cannot be opened" in str(refused.reason)
    path.unlink()  # `build` replaces only archives
    build(root, path)
    path.chmod(0o666)
    (refused,) = open_all([str(path)], allow_shared=False, strict=False)
    assert "is not trusted: it is writable by everybody" in str(refused.reason)
    (accepted,) = open_all([str(path)], allow_shared=True, strict=False)
    assert accepted.usable
    path.chmod(0o644)
    link, open_to_all = tmp_path / "link.pyca", tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (open_to_all / "app.pyca").write_bytes(path.read_bytes())
    for target, usable in ((path, True), (open_to_all / "app.pyca", False)):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        (refused,) = open_all([str(link)], allow_shared=False, strict=False)
        assert refused.usable == usable
    assert f"{open_to_all} is writable by everybody" in str(refused.reason)
    path.write_bytes(path.read_bytes().replace(ARCHIVE_FORMAT, b"pycachehook archive 2\n"))
    (refused,) = open_all([str(path)], allow_shared=False, strict=False)
    assert "no archive of this format" in str(refused.reason)


def test_another_optimization_level(root: Path, tmp_path: Path, python: Callable[..., object]) -> None:
    """An archive for -O is not for this interpreter."""
    script = "import sys; from pycachehook.cli.main import main; sys.exit(main(sys.argv[1:]))"
    python("-O", "-c", script, "archive", "build", "--path", root / "pk", tmp_path / "app.pyca")
    with pytest.raises(Unusable, match=f"is for {sys.implementation.cache_tag} with -O, which this interpreter is not"):
        Archive(str(tmp_path / "app.pyca"), trusted_owners())


def test_an_archive_without_o_under_o(root: Path, tmp_path: Path, python: Callable[..., Any]) -> None:
    """Under -O an archive without it is refused for that reason, not as that of another Python."""
    build(root / "pk", tmp_path / "app.pyca")
    script = "import sys; from pycachehook.cli.main import main; sys.exit(main(sys.argv[1:]))"
    process = python("-O", "-c", script, "archive", "list", tmp_path / "app.pyca", check=False)
    assert f"is for {sys.implementation.cache_tag} without -O, which this interpreter is not" in process.stderr


def test_named_roots_are_sysconfigs() -> None:
    """The named roots are those of `sysconfig`."""
    import sysconfig

    for name, place in named_roots().items():
        assert place == sysconfig.get_path(name, "venv")


def test_packages_in_a_place_of_the_systems_own(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_hook: None
) -> None:
    """A package directory at a system-specific path, as on Debian, is a root as well."""
    import sysconfig

    from pycachehook.cli.main import main

    found = sysconfig.get_path
    own = {
        "purelib": str(root),
        "platlib": str(root),
        "stdlib": str(tmp_path / "empty"),
        "platstdlib": str(tmp_path / "empty"),
    }
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(sysconfig, "get_path", lambda name, *more: own.get(name) or found(name, *more))
    assert main(["archive", "build", "-j", "1", "--exclude", "*/broken.py", str(tmp_path / "app.pyca")]) == 0
    assert Archive(str(tmp_path / "app.pyca"), trusted_owners()).find(str(root / "pk/sub/deep.py"))
