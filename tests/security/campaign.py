"""What a program does with hostile and damaged files, one after the other in this process."""

import pickle
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 120  # seconds with one file, on cores that others use too

Made = tuple[str, str, str]  # a file's name, what came of it, and what was said


class Hung(BaseException):
    """Took too long; no Exception, so that nothing that is tried takes it for its own."""


@contextmanager
def traps(folder: Path) -> Iterator[Path]:
    """What files outside may be made to run: a pickle and a hubconf.py that touch the file whose path this gives."""
    touched = folder / "touched"

    class Runs:
        def __reduce__(self):
            return (Path.touch, (touched,))

    (folder / "hostile.pkl").write_bytes(pickle.dumps(Runs()))
    text = f"import pathlib\npathlib.Path({str(touched)!r}).touch()\ndef x(): pass\n"
    (folder / "hubconf.py").write_text(text)
    before = list(sys.path)
    yield touched
    sys.path[:] = before


def outcomes(
    files: Iterable[tuple[str, bytes]], place: Path, use: Callable[[Path], object], touched: Path
) -> Iterator[Made]:
    """Write each file to the place and use it: it ``ran`` a command, was ``accepted``, ``hung``, or gave an error.

    An error is a ``sentence`` or a ``traceback``.
    """
    from ensembles.errors import UserError

    for name, contents in files:
        place.write_bytes(contents)
        said = ""
        try:
            with _limited():
                use(place)
            outcome = "accepted"
        except UserError as error:
            said = str(error)
            outcome = "sentence" if "\n" not in said and len(said) < 600 else "traceback"
        except Hung:
            outcome = "hung"
        except Exception as error:
            outcome, said = "traceback", f"{type(error).__name__}: {error}"[:200]
        if touched.exists():
            touched.unlink() if touched.is_file() else shutil.rmtree(touched)
            outcome = "ran"
        yield name, outcome, said


@contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
