"""The ground under every room: files written whole, errors that teach, plug-ins by name."""

import errno
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import underhood as uh
from underhood import errors, plugins
from underhood.atomic import CannotWrite, atomic
from underhood.errors import InvalidArgument, MissingExtra, UnderhoodError, UnknownName


def test_a_file_appears_whole_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    with atomic(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def fail_half_way(path: Path, error: BaseException) -> None:
    with atomic(path) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit, InvalidArgument])
def test_after_an_exception_nothing_is_left_and_the_older_file_stays(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    path = tmp_path / "out.txt"
    path.write_text("older")
    with pytest.raises(failure):
        fail_half_way(path, failure("stop"))
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_a_sentence_that_is_also_an_os_error(tmp_path: Path) -> None:
    with (
        pytest.raises(CannotWrite, match="cannot be written: No space left") as caught,
        atomic(tmp_path / "a"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, UnderhoodError)
    assert isinstance(caught.value.__cause__, OSError)
    assert not list(tmp_path.iterdir())


def test_an_error_with_a_sentence_of_its_own_keeps_it(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="inner"), atomic(tmp_path / "a"):
        raise CannotWrite("inner")


@pytest.mark.parametrize("place", ["missing/out.txt", "file/out.txt", "."])
def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CannotWrite, match="cannot be written"), atomic(tmp_path / place) as temporary:
        temporary.write_text("never")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_the_files_mode_is_what_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic(tmp_path / "out") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


def test_a_link_is_followed(tmp_path: Path) -> None:
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("older")
    link.symlink_to(real)
    with atomic(link) as temporary:
        temporary.write_text("newer")
    assert link.is_symlink()
    assert real.read_text() == "newer"


LAYERS = ("conv1", "layer1.0.conv1", "layer1.0.conv2", "layer4", "fc")


@pytest.mark.parametrize(
    ("name", "offer"),
    [
        ("layer44", "did you mean 'layer4'?"),
        ("Conv1", "did you mean 'conv1'"),
        ("conv", "'layer1.0.conv1'"),
        ("zzz", "known are 'conv1', 'layer1.0.conv1', 'layer1.0.conv2', 'layer4', 'fc'"),
    ],
)
def test_an_unknown_name_offers_the_nearest(name: str, offer: str) -> None:
    error = UnknownName("layer", name, LAYERS)
    assert str(error).startswith(f"There is no layer named '{name}'; ")
    assert offer in str(error)
    assert error.known == LAYERS


def test_of_many_names_a_few_are_shown() -> None:
    text = str(UnknownName("label", "?", [f"class {i}" for i in range(1000)]))
    assert "and 992 more." in text
    assert len(text) < 300
    assert "none is known here" in str(UnknownName("label", "x", []))


def test_every_error_is_an_underhood_error_and_what_python_would_raise() -> None:
    assert issubclass(InvalidArgument, ValueError)
    assert issubclass(UnknownName, LookupError)
    assert issubclass(errors.BadInput, ValueError)
    assert issubclass(errors.OutOfMemory, MemoryError)
    assert issubclass(MissingExtra, ImportError)
    own = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, Exception)]
    assert all(issubclass(error, UnderhoodError) for error in own)
    assert all(error.__doc__ for error in own)


def test_a_missing_extra_says_how_to_install_it() -> None:
    text = str(MissingExtra("timm", "timm"))
    assert "'timm'" in text
    assert "pip install 'underhood[timm]'" in text


@pytest.mark.parametrize(
    "error",
    [InvalidArgument("a"), errors.Cancelled("stopped"), CannotWrite("b")],
    ids=lambda e: type(e).__name__,
)
def test_errors_travel_between_processes(error: UnderhoodError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)


def test_plugins_are_found_by_name() -> None:
    assert callable(plugins.plugin("writers", "html", kind="writer"))
    assert plugins.plugin("verbs", "predict", kind="verb") is uh.predict


def test_an_unknown_plugin_offers_what_is_installed_and_what_is_built_in() -> None:
    with pytest.raises(UnknownName, match="no writer named 'htm'; did you mean 'html'"):
        plugins.plugin("writers", "htm", kind="writer")
    with pytest.raises(UnknownName, match="did you mean 'timm'"):
        plugins.plugin("models", "tim", kind="model scheme", known=("timm", "hf"))
    with pytest.raises(UnknownName, match="none is known here"):
        plugins.plugin("nothing", "x", kind="thing")


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, underhood; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_package_offers_the_names_of_its_rooms() -> None:
    for name in ("Model", "load", "explain", "GradCAM", "Settings", "Baseline", "UnderhoodError"):
        assert name in dir(uh)
        assert getattr(uh, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Grad_CAM'"):
        _ = uh.Grad_CAM
