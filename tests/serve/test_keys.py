"""Who is let in."""

from __future__ import annotations

from pathlib import Path

import pytest

from evolcoder.errors import SettingsError
from evolcoder.serve.keys import check_key, keys_for
from evolcoder.serve.protocol import RequestError
from evolcoder.settings.run import ServeSettings


def test_one_key_a_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# team\n  one \n\ntwo\n")
    assert keys_for(ServeSettings(api_key_file=str(file))) == ("one", "two")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing-here cannot be read \(No such file"):
        keys_for(ServeSettings(api_key_file=str(tmp_path / "nothing-here")))


def test_an_empty_file_would_let_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# none yet\n")
    with pytest.raises(SettingsError, match="holds no key"):
        keys_for(ServeSettings(api_key_file=str(tmp_path / "keys")))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_other_machines_need_a_key(host: str) -> None:
    with pytest.raises(SettingsError, match="api_key_file"):
        keys_for(ServeSettings(host=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_needs_none(host: str) -> None:
    assert keys_for(ServeSettings(host=host)) == ()


@pytest.mark.parametrize("header", ["Bearer one", "bearer  one", "Bearer two"])
def test_a_right_key_is_let_in(header: str) -> None:
    check_key(header, ("one", "two"))


@pytest.mark.parametrize("header", [None, "", "one", "Bearer", "Bearer on", "Bearer onee", "Basic one", "Bearer é"])
def test_anything_else_is_not(header: str | None) -> None:
    with pytest.raises(RequestError) as caught:
        check_key(header, ("one", "two"))
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")


def test_without_keys_anyone_on_this_machine_is() -> None:
    check_key(None, ())
