"""Tests of the terminal UI may be coroutines; those that ask for a `terminal` run inside it."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import AsyncExitStack

import pytest

from tests.tui.histories import hung
from tests.tui.terminal import Terminal, app_on


@pytest.fixture
def terminal() -> Terminal:
    """The app on the hung run, on a terminal of 80 × 24."""
    return Terminal(app_on(hung()))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test, in the event loop of the app that its fixture is about to start."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None

    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def run() -> None:
        async with AsyncExitStack() as stack:
            for argument in arguments.values():
                if isinstance(argument, Terminal):
                    await stack.enter_async_context(argument)

            await pyfuncitem.obj(**arguments)

    asyncio.run(run())
    return True
