"""The API as the settings say, for every command that asks it. Light: the client is imported when a command runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .api_client import ApiClient


def open_api() -> ApiClient:
    """A client of it; nothing is sent yet.

    Raises:
        SettingsError: HOOKSTREAM_API_URL or HOOKSTREAM_API_TOKEN is missing or wrong.
    """
    from hookstream.processors.settings import Settings

    from .api_client import ApiClient

    settings = Settings.read()
    return ApiClient(settings.api_url, settings.token())
