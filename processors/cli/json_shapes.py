"""The shapes of the JSON that commands print, where the API has another for the same thing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def client_object(client: object) -> object:
    """A client for programs: an object with its `id` in every command, as a hook's; None where there is none.

    The API's dead letters and replays have the id alone.
    """
    return client if client is None or isinstance(client, Mapping) else {"id": client}


def with_client(item: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with its client as an object; also of the hooks that a replay counts."""
    shown = {**item, "client": client_object(item["client"])}
    if item.get("count") is not None:
        shown["count"] = {**item["count"], "hooks": [with_client(hook) for hook in item["count"]["hooks"]]}
    return shown
