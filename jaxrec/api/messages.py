"""The `progress` argument of public functions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

OnMessage = Callable[[str], None] | None
"""Called with each message and progress line."""


@contextlib.contextmanager
def sending_messages_to(progress: OnMessage) -> Iterator[None]:
    """Passes messages and progress lines to `progress` inside the `with` block; does nothing where it is None."""
    if progress is None:
        yield
        return
    from jaxrec.progress import messages_to

    with messages_to(progress):
        yield
