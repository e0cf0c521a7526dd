"""What a transaction and a step have in common: they begin and end, around a block or around a function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")


def quietly(work: Callable[..., Any], *args: Any) -> Any:
    """What it returns; None where it raises. Our mistakes are not the caller's."""
    try:
        return work(*args)
    except Exception:
        return None


class Scope:
    """A context manager, sync and async, and a decorator for functions of every kind. Its own work never raises."""

    def __enter__(self) -> Self:
        return quietly(self._begin) or self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        quietly(self._end, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Each call is a scope of its own."""
        made: Any
        if inspect.iscoroutinefunction(function):

            async def made(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._fresh(args, kwargs):
                    return await cast(Any, function)(*args, **kwargs)

        elif inspect.isasyncgenfunction(function):

            async def made(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._fresh(args, kwargs):
                    async for value in cast(Any, function)(*args, **kwargs):
                        yield value

        elif inspect.isgeneratorfunction(function):

            def made(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._fresh(args, kwargs):
                    return (yield from cast(Any, function)(*args, **kwargs))

        else:

            def made(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._fresh(args, kwargs):
                    return function(*args, **kwargs)

        return cast("Callable[P, R]", functools.wraps(function)(made))

    def _begin(self) -> Any: ...

    def _end(self, error: BaseException | None) -> None: ...

    def _fresh(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Scope:
        raise NotImplementedError
