"""The compiled module, if it is here and loads."""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ortho_kernels import _native


def _load() -> tuple[ModuleType | None, str]:
    if os.environ.get("ORTHO_NO_NATIVE", "0") not in ("", "0"):
        return None, "ORTHO_NO_NATIVE is set"
    try:
        return import_module("ortho_kernels._native"), ""
    except ModuleNotFoundError:
        return None, "the native module was not built"
    except ImportError as error:  # built, but it does not load here: the loader's words say why
        return None, f"the native module does not load: {error}"


if TYPE_CHECKING:
    module = _native
    reason = ""
else:
    module, reason = _load()
