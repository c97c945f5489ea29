"""Which screen is shown: the overview at the bottom, one other view or a rank above it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from textual.app import App

from dsray_inspect.agent.model import Worker
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.screens.env import EnvView
from dsray_inspect.tui.screens.findings import FindingsView
from dsray_inspect.tui.screens.functions import FunctionsView
from dsray_inspect.tui.screens.overview import OverviewView
from dsray_inspect.tui.screens.rank import RankView
from dsray_inspect.tui.screens.stacks import StacksView
from dsray_inspect.tui.screens.timeline import TimelineView
from dsray_inspect.tui.targets import ViewName

HOME: Final[ViewName] = "overview"
_VIEWS: Mapping[ViewName, type[View]] = {
    "overview": OverviewView,
    "functions": FunctionsView,
    "stacks": StacksView,
    "timeline": TimelineView,
    "findings": FindingsView,
    "env": EnvView,
}
VIEW_NAMES: tuple[ViewName, ...] = tuple(_VIEWS)


class Navigator:
    """Opens and closes the screens of an app."""

    def __init__(self, app: App[int]) -> None:
        self._app = app
        self._views: dict[ViewName, View] = {}

    def view(self, name: ViewName) -> View:
        """Return a view, which is made when it is first asked for."""
        if name not in self._views:
            self._views[name] = _VIEWS[name]()

            if name != HOME:
                # An installed screen keeps its cursor and its folds while another one is shown.
                self._app.install_screen(self._views[name], name)

        return self._views[name]

    @property
    def overview(self) -> OverviewView:
        return cast("OverviewView", self.view(HOME))

    @property
    def view_name(self) -> ViewName:
        """The view that is shown, or from which a rank was opened."""
        names = [screen.VIEW for screen in self._app.screen_stack if isinstance(screen, View)]
        return next((name for name in reversed(names) if name is not None), HOME)

    def open_view(self, name: ViewName) -> None:
        """Show a view, and close what is above the present one."""
        app = self._app

        if name == self.view_name and app.screen is self.view(name):
            return

        while len(app.screen_stack) > 2:
            app.pop_screen()

        if name == HOME:
            self.go_back()
        elif len(app.screen_stack) == 2:
            # Switching avoids drawing the overview in between.
            app.switch_screen(self.view(name))
        else:
            app.push_screen(self.view(name))

    def turn(self, by: int) -> None:
        """Show the next view, or with -1 the previous one."""
        index = VIEW_NAMES.index(self.view_name)
        self.open_view(VIEW_NAMES[(index + by) % len(VIEW_NAMES)])

    def open_rank(self, worker: Worker) -> None:
        self._app.push_screen(RankView(worker))

    def go_back(self) -> None:
        if len(self._app.screen_stack) > 1:
            self._app.pop_screen()
