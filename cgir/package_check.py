"""Check that the library's packages are not shadowed by a user's own files.

The packages have plain names (`frontends`, `encoders`, `contrastive`, `search`). Python looks first in the folder of
the script that runs, or with `python -m` in the working directory, so that a `search.py` or `encoders/` there is
imported instead, and the ImportError that follows names neither file.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from .errors import CgirError


class ShadowedPackageError(CgirError, ImportError):
    """A module that is not the library's is imported under the name of one of its packages."""


def check_packages(*names: str) -> None:
    """Check that packages are those beside `cgir`, without importing them.

    Raises:
        ShadowedPackageError: another file has the name of one of them.
    """
    # `cgir` may be a link to its folder, and so may the packages beside it
    roots = [path.parent.parent for path in (Path(__file__).absolute(), Path(__file__).resolve())]
    for name in names:
        spec = sys.modules[name].__spec__ if name in sys.modules else find_spec(name)
        own = [root / name / "__init__.py" for root in roots if (root / name / "__init__.py").is_file()]
        if spec is None or not spec.origin or not own:
            continue  # not installed at all, or not beside `cgir`: nothing to compare with
        imported = Path(spec.origin).resolve()
        if imported not in [path.resolve() for path in own]:
            shadow = imported.parent if imported.name == "__init__.py" else imported
            raise ShadowedPackageError(
                f"{shadow} is imported in place of the package {name!r} of cgir, which is {own[-1].parent}; rename it, "
                "start from another folder, or use the console script `cgir` instead of `python -m cgir`"
            )
