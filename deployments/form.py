"""Form: the settings as Prefect's UI shows them, every field empty; what is filled in changes the profile.

The models are made from `configs.settings`, so that a new setting shows up by itself. Secrets are left out, since what
stands in a form stands in the server's database: workers take credentials from their environment.
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

_LEFT_OUT = ("profile",)


def _empty(field: FieldInfo) -> tuple[Any, FieldInfo]:
    """Return a field of the form: what the setting may be, or nothing; its default is told in words."""
    kinds = get_args(field.annotation) if get_origin(field.annotation) in (Union, UnionType) else (field.annotation,)
    default = "" if field.default is None else f" (access: {field.default})"
    told = " ".join((field.description or "").split()) + default
    annotation = Union[(*(kind for kind in kinds if kind is not type(None)), None)]  # type: ignore[valid-type]
    empty = FieldInfo.merge_field_infos(field, annotation=annotation, default=None, description=told)
    return annotation, empty


def _is_secret(field: FieldInfo) -> bool:
    return field.annotation is SecretStr or SecretStr in get_args(field.annotation)


def _form_of(model: type[Closed], name: str) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for key, field in model.model_fields.items():
        if key in _LEFT_OUT or _is_secret(field):
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, Closed):
            section = _form_of(field.annotation, field.annotation.__name__.replace("Settings", "Changes"))
            told = (field.annotation.__doc__ or "").strip()
            fields[key] = (section, Field(default_factory=section, description=told))
        else:
            fields[key] = _empty(field)
    config = ConfigDict(extra="forbid", frozen=True)
    return create_model(name, __config__=config, __doc__=model.__doc__, **fields)


Changes = _form_of(Settings, "Changes")
"""The form: a section for each section of the settings, its fields None unless they are filled in."""


def settings_of(profile: str, changes: BaseModel) -> Settings:
    """Return a profile's settings, changed by what is filled in.

    Raises:
        ConfigError: If a value, or two together, are not possible.
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
