"""Test settings from profiles, files and the command line."""

from __future__ import annotations

import json
import pickle
import traceback
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import all_keys, load_settings, profile_names, public_settings, settings_digest
from foliopress.configs.settings import ClusterSettings, Settings
from tests.promises import NO_SECRET


def test_every_shipped_profile_loads_and_knows_its_name() -> None:
    assert profile_names() == ("access", "compatible", "preservation", "smallest")
    assert [load_settings(name).profile for name in profile_names()] == list(profile_names())


def test_overrides_change_a_profile_and_options_have_the_last_word() -> None:
    settings = load_settings("smallest", ["encode.quality=35", "cluster.workers=3"], {"cluster.workers": 2})
    assert (settings.encode.quality, settings.cluster.workers) == (35, 2)
    assert settings.importance.threshold == 0.078  # the profile's own


def test_an_option_that_was_not_given_changes_nothing() -> None:
    assert load_settings("access", [], {"scan.include": None}) == load_settings("access")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("encode.qualty=35", ["encode.qualty", "no such setting", "did you mean encode.quality"]),
        ("quality=35", ["quality", "did you mean encode.quality"]),
        ("nonsense=1", ["nonsense", "no such setting", "encode"]),
        ("encode.quality=300", ["encode.quality", "300", "less than or equal to 100"]),
        ("encode.quality=high", ["encode.quality", "'high'", "integer"]),
        ("encode.codec=gif", ["encode.codec", "'gif'", "'avif', 'webp', 'jpeg', 'jp2' or 'jxl'"]),
        ("resolution.harshest_level=3", ["resolution.harshest_level", "3", "1, 2, 4 or 8"]),
        ("ocr.timeout_s=.inf", ["ocr.timeout_s", "inf"]),
        ("encode=avif", ["encode", "no such setting"]),
        ("encode.quality", ["encode.quality", "key=value"]),
    ],
)
def test_a_wrong_override_is_told_with_its_key_what_came_and_what_is_allowed(override: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings("access", [override])
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_all_wrong_values_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"(?s)(encode.speed.*encode.quality|encode.quality.*encode.speed)"):
        load_settings("access", ["encode.quality=0", "encode.speed=99"])


@pytest.mark.parametrize("word", ["off", "enforce", "measure"])
def test_yaml_does_not_turn_a_mode_into_a_truth_value(word: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"legibility: {{mode: {word}}}\n")
    assert load_settings(str(file)).legibility.mode == word
    assert load_settings("access", [f"legibility.mode={word}"]).legibility.mode == word


def test_a_profile_of_ones_own_has_the_name_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "court.yaml"
    file.write_text("encode:\n  codec: webp\nlimits:\n")
    settings = load_settings(str(file))
    assert (settings.profile, settings.encode.codec) == ("court", "webp")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("encode: {qualty: 3}", "encode.qualty: no such setting"),
        ("encode: [1, 2]", "encode: "),
        ("- a\n- b", "expected sections"),
        ("encode: {codec: webp\n", "not valid YAML"),
        ("encode: {quality: 3, quality: 4}", "quality: duplicated"),
        ("encode: !!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_a_broken_profile_file_is_told_in_words(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(str(file))
    assert words in str(caught.value)


def test_an_unknown_profile_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"did you mean access.*smallest"):
        load_settings("acess")
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        load_settings("gone.yaml")


def test_secrets_are_in_no_error_no_public_settings_and_no_repr() -> None:
    overrides = [
        "storage.access_key_id=AKIA007",
        "storage.secret_access_key=12345678",
        "storage.session_token=t0ken",
    ]
    settings = load_settings("access", overrides)
    written = yaml.safe_dump(public_settings(settings)) + json.dumps(public_settings(settings)) + repr(settings)
    assert not [word for word in ("AKIA007", "12345678", "t0ken") if word in written]
    with pytest.raises(ConfigError) as caught:
        load_settings("access", [], {"storage.secret_access_key": {"oops": "s3cret"}})
    assert "storage.secret_access_key" in str(caught.value)
    assert "s3cret" not in str(caught.value)


CANARIES = {
    "a line that is no YAML": "storage:\n  secret_access_key: 'canary\n  region: eu",
    "an alias": "storage: {secret_access_key: *canary}",
    "a tag": "storage: {secret_access_key: !canary x}",
    "an escape": 'storage: {secret_access_key: "canary\\q"}',
    "a tab": "storage:\n\tsecret_access_key: canary",
    "a character that YAML does not allow": "storage: {secret_access_key: canary\x01}",
    "a duplicated key": "storage: {secret_access_key: canary, region: a, region: b}",
    "a key twice in a line of its own": "storage:\n  secret_access_key: canary1\n  secret_access_key: canary2",
    "a text": "canary",
    "a list": "[canary]",
    "an INI file": "[default]\naws_secret_access_key = canary",
    "a shell file": "AWS_SECRET_ACCESS_KEY=canary",
    "a section that is a text": "storage: canary",
    "a section that is a list": "storage: [canary]",
    "a secret that is a mapping": "storage: {secret_access_key: {canary: 1}}",
    "a secret under a key that is misspelt": "storage: {secret_access_kei: canary}",
    "a section that is misspelt": "storrage: {secret_access_key: canary}",
    "a secret as a key": "https://me:canary@host/x?sig=canary: 1",
    "a secret as a key of a section": "storage: {'canary=1': 1}",
    "an endpoint with a password": "storage: {endpoint_url: 'http://me:canary@host'}",
    "an endpoint with a token": "storage: {endpoint_url: 'http://host/?X-Amz-Signature=canary'}",
    "keys with a token": "scan: {keys_file: 'https://host/keys.txt?sig=canary'}",
    "a scheduler with a password": "cluster: {scheduler: 'tcp://me:canary@host:8786'}",
    "options of no cluster": "cluster: {options: {auth: canary, env: {PASSWORD: canary}}}",
    "options of a kind that there is not": "cluster: {kind: canary_no.Cluster, options: {auth: canary}}",
    "options of two clusters": (
        "cluster: {kind: dask_gateway.GatewayCluster, scheduler: 'tcp://h:1', options: {auth: canary}}"
    ),
    "an option that is a list of lists": "cluster: {kind: dask_gateway.GatewayCluster, options: {x: [[canary]]}}",
    "an option whose name is odd": "cluster: {kind: dask_gateway.GatewayCluster, options: {'canary=x': [[1]]}}",
    "a model by a URL": "importance: {model: 'https://me:canary@host/m?token=canary', threshold: no}",
}
IN_OVERRIDES = (
    *("storage.secret_access_key:canary", "canary", "storage.secret_access_key", "https://me:canary@host?x"),
    *("storage=canary", "storage={secret_access_key: canary", "storage.canary.x=canary"),
    *("cluster.options={auth: canary}", "cluster.scheduler=tcp://me:canary@h:1", "scan.keys_file=s3://b/k?sig=canary"),
    *("cluster.options={auth: canary", "storage.secret_access_keys=canary", "storage.endpoint_url=http://h#canary"),
)


@pytest.mark.promise(NO_SECRET, "a canary in each kind of line that a profile or --set can hold, correct or broken")
@pytest.mark.parametrize("text", CANARIES.values(), ids=CANARIES.keys())
def test_no_error_of_a_profile_quotes_what_may_be_a_secret(text: str, tmp_path: Path) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(str(file))
    output = "".join(traceback.format_exception(caught.value))  # as the log file has it
    assert "canary" not in output.replace(str(tmp_path), "").replace("canary_no", "")


@pytest.mark.parametrize("override", IN_OVERRIDES)
def test_no_error_of_an_override_quotes_what_may_be_a_secret(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings("access", [override])
    assert "canary" not in str(caught.value).replace("storage.canary.x", "")


@pytest.mark.parametrize("profile", ["https://me:canary@host/a.yaml", "s3://b/a.yaml?sig=canary", "https://h/a#canary"])
def test_a_profile_by_a_url_is_refused_without_its_secret(profile: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(profile)
    assert "--profile" in str(caught.value) and "canary" not in str(caught.value)


def test_options_of_a_cluster_are_written_down_by_their_names_where_they_may_hold_a_secret() -> None:
    options = {
        "image": "registry.example/foliopress:1",
        "worker_cores": 4,
        "auth": "canary",
        "api_token": "canary",
        "address": "https://me:canary@gateway.example/x?token=canary",
        "env": {"AWS_SECRET_ACCESS_KEY": "canary", "LANG": "canary"},
        "worker_extra_args": ["--password", "canary"],
    }
    cluster = ClusterSettings.model_construct(kind="x", options=options)  # though nearly all of these are refused
    settings = Settings().model_copy(update={"cluster": cluster})
    public = public_settings(settings)["cluster"]
    output = json.dumps(public) + repr(settings) + str(settings) + settings.model_dump_json()
    assert "canary" not in output and "registry.example" in output and "gateway.example" in output
    assert isinstance(public, dict) and public["options"].keys() == options.keys()
    assert settings.model_dump()["cluster"]["options"] == options  # what the cluster is given
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_public_settings_are_a_profile_that_gives_the_same_settings(tmp_path: Path) -> None:
    settings = load_settings("preservation", ["encode.quality=77", "scan.include=['a*', 'b*']", "legibility.mode=off"])
    file = tmp_path / "again.yaml"
    file.write_text(yaml.safe_dump(public_settings(settings)))
    assert load_settings(str(file)) == settings


def test_the_digest_changes_with_what_changes_output_and_with_nothing_else() -> None:
    digest = settings_digest(load_settings("access"))
    same = ["cluster.workers=7", "storage.retries=1", "scan.include=['*.tif']", "importance.model=/elsewhere"]
    same += ["evidence.events=false", "evidence.bag=true", "evidence.bag_info=['Contact-Name: A']"]
    other = [
        "encode.quality=41",
        "shard.max_documents=4",
        "ocr.language=deu",
        "stats.words=off",
        "limits.max_page_pixels=9",
    ]
    assert len(digest) == 16
    assert {settings_digest(load_settings("access", [override])) for override in same} == {digest}
    assert len({settings_digest(load_settings("access", [override])) for override in other} | {digest}) == 1 + len(
        other
    )


@given(st.sampled_from(all_keys()), st.text(max_size=20))
def test_whatever_the_value_settings_load_or_a_config_error_names_the_key(key: str, text: str) -> None:
    assert key in problem_with(f"{key}={text}", if_none=key)


@given(st.text(max_size=30))
def test_whatever_the_override_no_other_error_comes_out(override: str) -> None:
    assert problem_with(override, if_none="fine")


def problem_with(override: str, if_none: str) -> str:
    try:
        load_settings("access", [override])
    except ConfigError as error:
        return str(error)
    return if_none


@pytest.mark.parametrize("line", ["no label", ": A", "Contact-Name:", "Contact-Name: A\nB: C", "payload-oxum: 1.1"])
def test_lines_of_a_bags_info_have_a_label_and_none_that_is_worked_out(line: str) -> None:
    with pytest.raises(ConfigError, match="evidence.bag_info"):
        load_settings("access", [], {"evidence.bag_info": [line]})
