"""Derive the form of settings in Prefect's UI; each field is empty, and a filled field changes the profile.

The models are generated from `configs.settings`, so that a new setting appears by itself. Secrets are left out, as the
server stores forms in its database: workers take credentials from their environment.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr, create_model
from pydantic.fields import FieldInfo

from foliopress.configs.loading import load_settings
from foliopress.configs.settings import Closed, Settings

Profile = Literal["access", "compatible", "preservation", "smallest"]

_EXCLUDED = ("profile",)


def _empty(field: FieldInfo) -> tuple[Any, FieldInfo]:
    """Return a form field: optional, with the setting's type, and its default in the description."""
    kinds = get_args(field.annotation) if get_origin(field.annotation) in (Union, UnionType) else (field.annotation,)
    default = "" if field.default is None else f" (access: {field.default})"
    description = " ".join((field.description or "").split()) + default
    annotation = Union[(*(kind for kind in kinds if kind is not type(None)), None)]  # type: ignore[valid-type]
    empty = FieldInfo.merge_field_infos(field, annotation=annotation, default=None, description=description)
    return annotation, empty


def _is_secret(field: FieldInfo) -> bool:
    return field.annotation is SecretStr or SecretStr in get_args(field.annotation)


def _form_of(model: type[Closed], name: str) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for key, field in model.model_fields.items():
        if key in _EXCLUDED or _is_secret(field):
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, Closed):
            section = _form_of(field.annotation, field.annotation.__name__.replace("Settings", "Changes"))
            description = (field.annotation.__doc__ or "").strip()
            fields[key] = (section, Field(default_factory=section, description=description))
        else:
            fields[key] = _empty(field)
    config = ConfigDict(extra="forbid", frozen=True)
    return create_model(name, __config__=config, __doc__=model.__doc__, **fields)


Changes = _form_of(Settings, "Changes")
"""The form: one section for each section of the settings; a field that is not filled in is None."""


def settings_of(profile: str, changes: BaseModel) -> Settings:
    """Return a profile's settings with the filled fields applied.

    Raises:
        ConfigError: If a value, or a combination of values, is invalid.
    """
    return load_settings(profile, options=dict(_filled(changes)))


def _filled(changes: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    values = changes.model_dump(mode="json")
    for key, section in changes:
        value = values[key]
        if isinstance(section, BaseModel):
            yield from _filled(section, f"{prefix}{key}.")
        elif value not in (None, "", [], {}):
            yield f"{prefix}{key}", value
