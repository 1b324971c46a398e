"""A component that starts in a thread while another starts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar


class Closed(Protocol):
    """What ends like a context manager."""

    def __exit__(self, kind: Any, error: Any, traceback: Any, /) -> None:
        """End the component."""


C = TypeVar("C", bound=Closed)


class Aside(Generic[C]):
    """Starts a component by `start` in a thread; a context manager that ends the component.

    An error in the block does not wait for a start that still goes on: the component then ends as soon as it has started.
    """

    def __init__(self, start: Callable[[], C]) -> None:
        self._start = start
        self._future: Future[C] = Future()
        threading.Thread(target=self._run, name="start aside", daemon=True).start()

    def _run(self) -> None:
        try:
            self._future.set_result(self._start())
        except BaseException as error:  # noqa: BLE001
            # `started` raises it in the thread that waits.
            self._future.set_exception(error)

    def started(self) -> C:
        """Wait for the start and return the component. Raises what `start` raised."""
        return self._future.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        def end(future: Future[C]) -> None:
            if future.exception() is None:
                future.result().__exit__(kind, error, traceback)

        self._future.add_done_callback(end)
