"""Which module's forward runs: its path stands on the tape; without hooks, which make every call a frame deeper."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.nn.modules.module import _has_any_global_hook

from frontends.common.tape import Tape


class ModuleScopes:
    """Keeps `tape.path` at the submodule whose forward runs in this thread.

    Args:
        modules: shadows by path, whose calls are changed.
        tape: of their trace.
    """

    def __init__(self, modules: Mapping[str, nn.Module], tape: Tape) -> None:
        self._path: list[str] = tape.path
        self._thread = threading.get_ident()
        self._modules = [(path, module) for path, module in modules.items() if path]
        self._stopped: tuple[BaseException | None, str] = (None, "")  # the last exception, and where it was raised

    def __enter__(self) -> ModuleScopes:
        for path, module in self._modules:
            vars(module)["_compiled_call_impl"] = self._scoped(module, path)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped = None, ""
        for _, module in self._modules:
            vars(module)["_compiled_call_impl"] = None  # else both would stay until garbage is collected, and weights

    def path_of(self, error: BaseException) -> str:
        """The module that raised an exception."""
        return self._stopped[1] if self._stopped[0] is error else self._path[-1]

    def _scoped(self, module: nn.Module, path: str) -> Callable[..., Any]:
        """A call of a module as PyTorch makes it, in the scope of its path."""
        plain = type(module)._call_impl is nn.Module._call_impl

        def call(*args: Any, **kwargs: Any) -> Any:
            run = module.forward if plain and not _has_hooks(module) else module._call_impl
            if threading.get_ident() != self._thread:
                return run(*args, **kwargs)
            depth = len(self._path)
            self._path.append(path)
            try:
                return run(*args, **kwargs)
            except BaseException as error:
                if self._stopped[0] is not error:
                    self._stopped = (error, path)
                raise
            finally:
                del self._path[depth:]

        return call


def _has_hooks(module: nn.Module) -> bool:
    """Whether PyTorch does more in a call than to call the forward."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or _has_any_global_hook()  # type: ignore[no-untyped-call]
    )
