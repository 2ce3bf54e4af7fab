"""Reads a run's settings: one YAML file or a preset, with overrides, and errors that name the key and suggest the right one.

Precedence: command line, then environment (``EVOLCODER__SECTION__KEY``), then YAML, then the models' defaults.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from evolcoder.errors import SettingsError, suggestion
from evolcoder.settings.run import RunSettings
from evolcoder.text.encodable import encodable_text

ENVIRONMENT_PREFIX = "EVOLCODER__"


def load_settings(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> RunSettings:
    """Read a run's YAML and apply environment and command-line overrides.

    Raises:
        SettingsError: the file is missing or malformed, or a key or value is wrong; the message names it.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    file = Path(path)
    try:
        config = OmegaConf.load(file)
    except FileNotFoundError:
        raise SettingsError(f"There is no file {file}; write one with `evolcoder init NAME --preset laptop`.") from None
    except IsADirectoryError:
        raise SettingsError(f"{file} is a folder; name the run's YAML file.") from None
    except (YAMLError, UnicodeDecodeError, OmegaConfBaseException, OSError) as error:
        where = " ".join(str(error).split())
        raise SettingsError(f"{file} is not readable as YAML: {where}.") from None
    if not OmegaConf.is_dict(config):
        raise SettingsError(f"{file} must hold `key: value` pairs at its top level.")
    return override_settings(config, overrides, source=str(file))


def load_preset(preset: str, name: str, overrides: Sequence[str] = ()) -> RunSettings:
    """A preset's settings for a run called ``name``."""
    import yaml

    return override_settings(yaml.safe_load(preset_text(preset, name)), overrides, source=f"the preset {preset}")


def override_settings(config: Any, overrides: Sequence[str], source: str) -> RunSettings:
    """Put the environment's and the command line's overrides on plain data, and check the whole."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    environment = [
        f"{key.removeprefix(ENVIRONMENT_PREFIX).lower().replace('__', '.')}={value}"
        for key, value in sorted(os.environ.items())
        if key.startswith(ENVIRONMENT_PREFIX)
    ]
    try:
        for override in [*environment, *overrides]:
            key, separator, _ = override.partition("=")
            if not separator or not key.strip():
                raise SettingsError(f"{override!r} is not an override; write it as section.key=value, e.g. evolve.rounds=2.")
            if encodable_text(override)[1]:
                raise SettingsError(f"{override!r} holds bytes that are not UTF-8; write the characters themselves.")
            try:
                config = OmegaConf.merge(config, OmegaConf.from_dotlist([override]))
            except YAMLError as error:
                raise SettingsError(f"The value in {override!r} is not YAML: {' '.join(str(error).split())}.") from None
        plain = OmegaConf.to_container(OmegaConf.merge(config), resolve=True)
    except OmegaConfBaseException as error:
        raise SettingsError(f"{source} with these overrides does not resolve: {str(error).splitlines()[0]}.") from None
    return parse_settings(plain, source)


def parse_settings(plain: Any, source: str) -> RunSettings:
    """Check plain data against the models; errors name every wrong key, and suggest the right one."""
    try:
        return RunSettings.model_validate(plain)
    except ValidationError as error:
        problems = [_explain(problem) for problem in error.errors()]
        raise SettingsError(f"{source}: " + "; ".join(problems) + ".") from None


def preset_names() -> list[str]:
    folder = resources.files("evolcoder.settings") / "presets"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def preset_text(preset: str, name: str) -> str:
    """The commented YAML of a preset for a run called ``name``."""
    known = preset_names()
    if preset not in known:
        raise SettingsError(f"There is no preset {preset!r}{suggestion(preset, known)}; presets: {', '.join(known)}.")
    text = (resources.files("evolcoder.settings") / "presets" / f"{preset}.yaml").read_text("utf-8")
    parse_settings({"name": name}, source=f"the name {name!r}")
    return text.replace("name: NAME", f"name: {name}", 1)


def _explain(problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    dotted = ".".join(location)
    if problem["type"] == "extra_forbidden":
        model: type[BaseModel] = RunSettings
        for part in location[:-1]:
            annotation = model.model_fields[part].annotation if part in model.model_fields else None
            for option in (annotation, *get_args(annotation)):  # a section that may be left out is one of two types
                if isinstance(option, type) and issubclass(option, BaseModel):
                    model = option
        return f"unknown key {dotted!r}{suggestion(location[-1], model.model_fields, '.'.join(location[:-1]))}"
    if problem["type"] == "missing":
        return f"the key {dotted!r} is missing"
    message = problem["msg"].removeprefix("Value error, ").replace("valid tuple", "list")  # as YAML has it
    if problem["type"] == "value_error" and len(location) < 2:
        return str(message)
    given = json.dumps(problem["input"], default=str)
    return f"{dotted}={given}: {message[:1].lower()}{message[1:]}"
