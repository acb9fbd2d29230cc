"""The help of a group: its commands under headings, each with its whole sentence, in plain text of any width."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

_NO_LIMIT: Final = 10_000
_NO_PANEL: Final = "Commands"


class Panel(Enum):
    """Headings of commands, in the order in which a newcomer needs them."""

    TRY = "Try it out"
    SET_UP = "Set up"
    ROLES = "Roles, each a process"
    HOOKS = "Hooks and events"
    OUTAGE = "During and after an outage"
    CARE = "Look after a deployment"


class GroupWithPanels(TyperGroup):
    """A group that lists its commands by panel and cuts no sentence; it needs no `rich`, whose import takes long."""

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the commands by panel; those without one are called commands."""
        known = [(name, self.commands[name]) for name in self.list_commands(ctx) if not self.commands[name].hidden]
        widest = max((len(name) for name, _ in known), default=0)
        for heading in (*(panel.value for panel in Panel), _NO_PANEL):
            rows = [
                (name.ljust(widest), command.get_short_help_str(_NO_LIMIT))
                for name, command in known
                if (getattr(command, "rich_help_panel", None) or _NO_PANEL) == heading
            ]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
