"""Test the form of settings: its fields, and the settings that a filled form gives."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from prefect.utilities.callables import parameter_schema
from pydantic import BaseModel, ValidationError

from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import all_keys, load_settings, profile_names
from foliopress.configs.settings import Settings
from foliopress.deployments import scheduled
from foliopress.deployments.form import Changes, Profile, settings_of
from foliopress.deployments.scheduled import compress
from foliopress.flows.run.run_request import RunRequest

SECRETS = ("access_key_id", "secret_access_key", "session_token")


def keys_of(model: type[BaseModel], prefix: str = "") -> set[str]:
    found = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        is_section = isinstance(kind, type) and issubclass(kind, BaseModel)
        found |= keys_of(kind, f"{prefix}{name}.") if is_section else {f"{prefix}{name}"}
    return found


def test_every_setting_is_a_field_but_for_secrets_and_the_name_of_the_profile() -> None:
    assert keys_of(Changes) == set(all_keys()) - {"profile", *(f"storage.{name}" for name in SECRETS)}


def test_every_field_says_what_it_is_for() -> None:
    schema = Changes.model_json_schema()
    for name, section in schema["$defs"].items():
        for key, field in section["properties"].items():
            assert len(field.get("description", "")) > 10, f"{name}.{key}"


@pytest.mark.parametrize("profile", profile_names())
def test_an_empty_form_is_the_profile_as_it_is(profile: str) -> None:
    assert settings_of(profile, Changes()) == load_settings(profile)


def test_the_profiles_to_choose_from_are_those_that_there_are() -> None:
    assert set(Profile.__args__) == set(profile_names())


def test_what_is_filled_in_changes_the_profile_and_nothing_else() -> None:
    changes = Changes.model_validate({"encode": {"quality": 40}, "scan": {"include": ["letters/*"]}})
    settings = settings_of("compatible", changes)
    expected = load_settings("compatible", ["encode.quality=40", 'scan.include=["letters/*"]'])
    assert settings == expected
    assert settings.encode.codec == "jpeg"


def test_a_field_that_a_template_left_empty_is_not_filled_in() -> None:
    changes = Changes.model_validate({"cluster": {"scheduler": ""}, "scan": {"include": []}})
    assert settings_of("access", changes) == load_settings("access")


@pytest.mark.parametrize("values", [{"encode": {"quality": 400}}, {"encode": {"qualty": 4}}, {"enc": {}}])
def test_what_is_not_possible_is_refused_by_the_form(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Changes.model_validate(values)


def test_what_is_not_possible_together_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError):
        settings_of("no such profile", Changes())


@hypothesis_settings(deadline=None)  # a busy machine takes seconds
@given(st.integers(1, 100), st.sampled_from(["avif", "webp", "jpeg"]), st.floats(0, 1))
def test_a_form_that_went_through_json_says_the_same(quality: int, codec: str, threshold: float) -> None:
    values = {"encode": {"quality": quality, "codec": codec}, "importance": {"threshold": threshold}}
    changes = Changes.model_validate(json.loads(json.dumps(values)))
    again = Changes.model_validate_json(changes.model_dump_json())
    settings = settings_of("access", again)
    assert (settings.encode.quality, settings.encode.codec) == (quality, codec)
    assert settings.importance.threshold == threshold
    assert isinstance(settings, Settings)


def test_what_a_run_can_be_asked_for_can_be_asked_for_in_the_form_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the flow below the command takes, but for what a server sees to itself."""
    asked: dict[str, object] = {}
    flags = {part.name for part in dataclasses.fields(RunRequest) if part.type == "bool"}
    assert flags == {"retry_failed", "overwrite", "is_deep"}
    monkeypatch.setattr(scheduled, "show_log", lambda: None)
    monkeypatch.setattr(scheduled, "compress_documents", lambda request: asked.update(dataclasses.asdict(request)))
    given = {name.removeprefix("is_"): True for name in flags}
    compress.fn("scans", "out", changes=Changes(scan={"allow_empty": True}), **given)
    assert {name for name in flags if asked[name]} == flags
    assert settings_of("access", Changes(scan={"allow_empty": True})).scan.allow_empty


def test_prefect_shows_the_parameters_with_their_descriptions() -> None:
    schema = parameter_schema(compress)
    assert {"source", "dest", "profile", "changes", "retry_failed", "deep", "overwrite"} <= schema.properties.keys()
    assert schema.required == ["source", "dest"]
    assert schema.properties["profile"]["enum"] == ["access", "compatible", "preservation", "smallest"]
    assert "never written to" in schema.properties["source"]["description"]
    assert "EncodeChanges" in schema.definitions
