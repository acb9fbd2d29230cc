"""`hookstream publish --data`: JSON, or a file of it; checked before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from hookstream.processors.cli.commands.publish import publish
from hookstream.schemas.catalogue import Catalogue


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    schema = json.loads(Catalogue.shipped().schema_text("lead"))
    schema["fields"].append({"name": "data", "type": ["null", {"type": "map", "values": "long"}], "default": None})
    (tmp_path / "lead.avsc").write_text(json.dumps(schema))
    monkeypatch.setenv("HOOKSTREAM_SCHEMA_DIR", str(tmp_path))
    return tmp_path


def publish_dry(data: str | None) -> None:
    publish("lead.new", client="434", concept_id="17", data=data, dry_run=True)


@pytest.mark.parametrize("data", ['{"total": 1}', "@FILE", "null", None])
def test_data_is_json_or_a_file_of_it(folder: Path, data: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "data.json").write_text('{"total": 7}')
    publish_dry(None if data is None else data.replace("FILE", str(folder / "data.json")))
    assert "is valid; nothing was sent" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_a_dry_run_prints_json_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    publish("lead.new", client="434", concept_id="17", dry_run=True, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert set(shown) == {"id", "topic", "partition", "offset", "dry_run"}
    assert (shown["offset"], shown["dry_run"]) == (None, True)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("{", "--data: not JSON"),
        ("@/nowhere/at/all", "--data: cannot read /nowhere/at/all"),
        ('{"total": "x"}', r"data\.total must be an integer of 64 bits"),
        ("5", "data must be an object"),
    ],
)
def test_what_is_none_or_does_not_fit_is_said(folder: Path, data: str, says: str) -> None:
    assert folder.exists()
    with pytest.raises(typer.BadParameter, match=says):
        publish_dry(data)


def test_data_of_a_file_s_events_is_in_its_lines() -> None:
    with pytest.raises(typer.BadParameter, match="--data are in the lines of --file"):
        publish(None, file=Path("events.jsonl"), data="{}")
