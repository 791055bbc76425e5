"""Load settings from a profile and the command line; report invalid keys and values before the first page."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, SecretStr, ValidationError

from foliopress.configs.errors import ConfigError
from foliopress.configs.secrets import HIDDEN, carries_password, hide, keep_secret, without_password
from foliopress.configs.settings import Settings

__all__ = [
    "all_keys",
    "carries_password",
    "digest_of",
    "digested_settings",
    "digested_values",
    "load_settings",
    "profile_names",
    "public_settings",
    "settings_digest",
    "without_password",
]

_NOT_IN_DIGEST = ("profile", "scan", "cluster", "storage", "importance.model", "stats.most_small_files", "evidence")
"""Settings that cannot change a page's output. A custom model counts by its weights, not by its folder."""

_SCALARS = (str, int, float, bool)
_LONGEST_KEY = 60

SettingValues = dict[str, object]
"""Values of settings, as JSON has them, by dotted key or by section."""


def profile_names() -> tuple[str, ...]:
    """Return the names of the shipped profiles in alphabetical order."""
    files = resources.files("foliopress.configs").iterdir()
    return tuple(sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml")))


def load_settings(
    profile: str = "access", overrides: Sequence[str] = (), options: Mapping[str, object] | None = None
) -> Settings:
    """Return the settings of a profile, changed by `key=value` overrides and then by options.

    Args:
        profile: Name of a shipped profile, or path of a YAML file.
        overrides: Each `section.key=value`; the value is parsed as YAML, e.g. `scan.exclude=["*.bak"]`.
        options: Values by dotted key; None means not given.

    Raises:
        ConfigError: If the profile cannot be read, or keys or values are invalid; all of them are named.
    """
    values = _read_profile(profile)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise ConfigError(
                f"--set {_shown_key(override, is_known=True)}: expected key=value, e.g. encode.quality=35"
            )
        _put(values, key.strip(), _parse_value(key.strip(), text.strip()))
    for key, value in (options or {}).items():
        if value is not None:
            _put(values, key, value)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_problems(error))) from None
    for _, section in settings:
        for _, value in section if isinstance(section, BaseModel) else ():
            if isinstance(value, SecretStr):
                keep_secret(value.get_secret_value())
    return settings


def settings_digest(settings: Settings) -> str:
    """Return 16 hexadecimal digits that change with every setting that can change output or shards."""
    return digest_of(digested_settings(settings))


def digest_of(digested: Mapping[str, object]) -> str:
    """Return the digest of settings that can change output or shards, by dotted key."""
    return hashlib.sha256(json.dumps(digested, sort_keys=True).encode()).hexdigest()[:16]


def digested_settings(settings: Settings) -> SettingValues:
    """Return the settings that can change output or shards, by dotted key."""
    return digested_values(settings.model_dump(mode="json"))


def digested_values(values: Mapping[str, Any]) -> SettingValues:
    """Return the same of settings as they are stored, by section."""
    return {
        key: value
        for key, value in _flat(values)
        if not any(key == left_out or key.startswith(f"{left_out}.") for left_out in _NOT_IN_DIGEST)
    }


def public_settings(settings: Settings) -> SettingValues:
    """Return the settings in force as plain values that may be recorded: no key, token or password."""
    values: dict[str, Any] = settings.model_dump(mode="json")
    for section, model in settings:
        if isinstance(model, BaseModel):
            for key, value in model:
                if isinstance(value, SecretStr) or _is_secret(type(model), key):
                    del values[section][key]
                elif isinstance(value, str):
                    values[section][key] = without_password(value)
    return values


def all_keys() -> tuple[str, ...]:
    """Return every setting's dotted key, in order."""
    return tuple(_keys_of(Settings))


class _Loader(yaml.SafeLoader):
    """YAML without its oldest traps: `off` and `no` are strings, and duplicate keys are errors."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise ConfigError(
                    f"{_shown_key(str(key))}: duplicated in the mapping that starts in {_place(node.start_mark)}"
                )
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false|True|False)$"), list("tfTF"))


def _read_profile(profile: str) -> dict[str, Any]:
    text, name = _profile_text(profile)
    try:
        values = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader, made stricter
    except ConfigError as error:
        raise ConfigError(f"--profile {without_password(profile)}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"--profile {without_password(profile)}: not valid YAML: {_yaml_trouble(error)}") from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"--profile {without_password(profile)}: expected sections such as `encode:`, found {_kind(values)}"
        )
    sections = {str(key): {} if value is None else value for key, value in values.items()}
    return {"profile": name} | sections


def _profile_text(profile: str) -> tuple[str, str]:
    if profile in profile_names():
        return resources.files("foliopress.configs").joinpath(f"{profile}.yaml").read_text("utf-8"), profile
    path = Path(profile)
    if path.is_file() or path.suffix in (".yaml", ".yml"):
        try:
            return path.read_text("utf-8"), path.stem
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise ConfigError(f"--profile {without_password(profile)}: the file cannot be read: {reason}") from None
    raise ConfigError(
        f"--profile {without_password(profile)}: no such profile{_did_you_mean(profile, profile_names())}; "
        f"choose {', '.join(profile_names())} or the path of a YAML file"
    )


def _parse_value(key: str, text: str) -> object:
    if _takes_text(key):  # an access key of digits or a language `no` must stay the text it is
        return None if text in ("", "null", "~") and not _is_required_text(key) else text.strip("\"'")
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader, made stricter
    except yaml.YAMLError:
        return text


def _put(values: dict[str, Any], key: str, value: object) -> None:
    if key not in all_keys():
        raise ConfigError(_unknown(key))
    *sections, last = key.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{section}: expected keys and values, found {_kind(inner)}")
        values = inner
    values[last] = value


def _problems(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        parts = [str(part) for part in problem["loc"] if not isinstance(part, int)]
        key = ".".join(parts) or "settings"
        if problem["type"] == "extra_forbidden":
            yield _unknown(key)
            continue
        expected = problem["msg"].removeprefix("Value error, ")
        yield f"{_shown_key(key)}: {_shown_value(parts, problem['input'])} is not valid. {expected}"


def _shown_value(parts: Sequence[str], value: object) -> str:
    """Return an invalid value as it may be shown: not if it is secret, or if its key is unknown."""
    key = ".".join(parts)
    is_known = key in all_keys() and not (key == "cluster.options" or _is_secret(_section(parts[0]), parts[-1]))
    if not is_known:
        return "the given value" if len(parts) > 1 else _kind(value)
    if isinstance(value, (list, tuple)) and all(isinstance(item, _SCALARS) for item in value):
        return hide(f"{list(value)!r:.80}")
    return hide(f"{value!r:.80}") if value is None or isinstance(value, _SCALARS) else _kind(value)


def _kind(value: object) -> str:
    """Return the kind of a misplaced value; never the value itself, which may be secret."""
    kinds = {dict: "keys and values", list: "a list", tuple: "a list", str: "text", type(None): "nothing"}
    return kinds.get(type(value), "a number" if isinstance(value, (int, float)) else "something else")


def _shown_key(key: str, *, is_known: bool = False) -> str:
    """Return the part of a key that may be shown: all of it only if it looks like a key, or even only if it is one."""
    name = re.match(r"[A-Za-z_]\w*(?:\.\w+)*", key)
    shown = name[0] if name else ""
    if shown == key and len(key) <= _LONGEST_KEY and not is_known:
        return key
    return shown if shown in all_keys() else "a key that is not a setting"


def _yaml_trouble(error: yaml.YAMLError) -> str:
    """Return the problem in a YAML file and its position, without quoting the file."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return "it contains characters that YAML does not allow"
    mark = error.problem_mark or error.context_mark
    problem = re.sub(r"(['\"]).{2,}\1", HIDDEN, error.problem or "it cannot be read", flags=re.DOTALL)
    return f"{' '.join(problem.split())}{f' in {_place(mark)}' if mark else ''}"


def _place(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _unknown(key: str) -> str:
    key = _shown_key(key)
    section = key.partition(".")[0]
    siblings = [known for known in all_keys() if known.startswith(f"{section}.")]
    allowed = siblings or list(dict.fromkeys(known.partition(".")[0] for known in all_keys()))
    return f"{key}: no such setting{_did_you_mean(key, all_keys())}; allowed: {', '.join(allowed)}"


def _did_you_mean(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    if not near and "." not in key:  # the key without its section
        near = [full for full in known if full.rpartition(".")[2] == key]
    return f", did you mean {' or '.join(near)}?" if near else ""


def _keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys_of(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _section(name: str) -> type[BaseModel] | None:
    annotation = Settings.model_fields[name].annotation if name in Settings.model_fields else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _annotations(key: str) -> tuple[Any, ...]:
    """Return the types a setting may have, with unions expanded; none for an unknown key."""
    section, _, name = key.rpartition(".")
    model = _section(section) if section else Settings
    if model is None or name not in model.model_fields:
        return ()
    annotation = model.model_fields[name].annotation
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _takes_text(key: str) -> bool:
    return any(
        kind in (str, SecretStr)
        or (get_origin(kind) is Literal and all(isinstance(value, str) for value in get_args(kind)))
        for kind in _annotations(key)
    )


def _is_required_text(key: str) -> bool:
    return type(None) not in _annotations(key)


def _is_secret(model: type[BaseModel] | None, name: str) -> bool:
    field = model.model_fields.get(name) if model else None
    return field is not None and (field.annotation is SecretStr or SecretStr in get_args(field.annotation))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
