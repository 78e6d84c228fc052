"""How settings are given: the same value as a flag, as a ``PLAUDIT_*`` variable or in a file, by the fields of structs.

``edit_window_s: int`` is ``--edit-window SECONDS``, ``PLAUDIT_EDIT_WINDOW``, and ``edit-window = 900`` in TOML. The
first of these counts; what is misspelt or of another type is refused with one line that names it.
"""

import argparse
import difflib
import tomllib
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, NoReturn, get_args, get_origin

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from protocol.gateway.settings import Rate

PREFIX: Final = "PLAUDIT_"


class SettingsError(Exception):
    """The configuration is wrong; the message is one line for the operator."""


class Kind(NamedTuple):
    """How a type is called in ``--help``, and in a refusal."""

    metavar: str
    expected: str


KINDS: Final[Mapping[Any, Kind]] = MappingProxyType(
    {
        int: Kind("N", "a whole number"),
        float: Kind("N", "a number"),
        bool: Kind("", "true or false"),
        str: Kind("TEXT", "a text"),
        bytes: Kind("TEXT", "a text"),
        Path: Kind("DIR", "a path"),
        Rate: Kind("N:N", "so many a second and so many at once, as 20:60"),
        tuple: Kind("A,B", "a list, with commas"),
    }
)


class Given(NamedTuple):
    """A value as it was found: a text, or from a file perhaps already a number or a list."""

    value: Any
    where: str


class Parser(argparse.ArgumentParser):
    """Refuses with ``SettingsError``, where the standard one prints its usage."""

    def __init__(self, **details: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_wide, **details)

    def error(self, message: str) -> NoReturn:
        raise SettingsError(message)


def _wide(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, max_help_position=38, width=118)


class Options:
    """The fields of ``structs`` as options; their names are all different, and ``help`` says what each is."""

    def __init__(self, structs: Mapping[str, type[Struct]], help: Mapping[str, str]) -> None:
        self._titles = structs
        self._help = help
        self.fields = {field.name: field for struct in structs.values() for field in fields(struct)}
        on = [flag(name) for name, field in self.fields.items() if field.type is bool]
        self._switches = {name: each for each in on for name in (each, f"--no-{each[2:]}")}

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Add every flag to ``parser``, under the title of its struct; one that is not given leaves no trace."""
        help = f"TOML file with any of the options below ({variable('config')})"
        parser.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help=help)
        for title, struct in self._titles.items():
            group = parser.add_argument_group(title)
            for field in fields(struct):
                details: dict[str, Any] = {"dest": field.name, "default": argparse.SUPPRESS}
                if field.type is bool:
                    details["action"] = argparse.BooleanOptionalAction
                else:
                    details["metavar"] = _metavar(field)
                group.add_argument(flag(field.name), help=self._describe(field), **details)

    def parse(
        self,
        parser: argparse.ArgumentParser,
        argv: Sequence[str],
        *,
        also: Sequence[str],
        commands: Container[str | None],
    ) -> argparse.Namespace:
        """The flags and the command.

        ``also`` are flags that ``parser`` has of its own, ``commands`` the commands that it knows.

        Raises:
            SettingsError: A flag is misspelt, or something else does not fit.
        """
        # Both before the parser, which would take the value of such a flag for a command.
        self._check_names(argv, also)
        if not any(word in commands for word in argv):
            self._check_switches(argv)
        return parser.parse_args(argv)

    def _check_names(self, argv: Sequence[str], also: Sequence[str]) -> None:
        known = {*also, "--config", *map(flag, self.fields)}
        for given in argv:
            name = given.partition("=")[0]
            if name.startswith("--") and name not in known | self._switches.keys():
                raise SettingsError(f"unknown argument {name}{_suggestion(name, known)}")

    def _check_switches(self, argv: Sequence[str]) -> None:
        for given, following in zip_longest(argv, argv[1:], fillvalue="--"):
            name, equals, value = given.partition("=")
            if name in self._switches and (equals or not following.startswith("-")):
                on = self._switches[name]
                raise SettingsError(
                    f"{name} takes no value: write {on} or --no-{on[2:]}, not {(value if equals else following)!r}"
                )

    def values(self, arguments: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, Any]:
        """What is configured: field → value of the field's type.

        Raises:
            SettingsError: A name is misspelt, a value is of another type, or the file cannot be read.
        """
        from_environment = self._from_environment(environ)
        config = from_environment.pop("config", None)
        path = getattr(arguments, "config", config and config.value)
        given = self._from_file(Path(path)) if path else {}
        given |= from_environment
        given |= {name: Given(getattr(arguments, name), flag(name)) for name in self.fields if name in arguments}
        return {name: _convert(self.fields[name], value) for name, value in given.items()}

    def _from_environment(self, environ: Mapping[str, str]) -> dict[str, Given]:
        """The variables; an empty one is as good as none."""
        known = {variable(name): name for name in (*self.fields, "config")}
        given = {}
        for name in sorted(environ):
            if name.startswith(PREFIX) and name not in known:
                raise SettingsError(f"unknown variable {name}{_suggestion(name, known)}")
            if name in known and environ[name]:
                given[known[name]] = Given(environ[name], name)
        return given

    def _from_file(self, path: Path) -> dict[str, Given]:
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"cannot read the configuration {path}: {error.strerror}") from error
        except ValueError as error:
            raise SettingsError(f"cannot read the configuration {path}: {error}") from error
        known = {option(name): name for name in self.fields}
        for key in content:
            if key not in known:
                raise SettingsError(f"unknown option {key} in {path}{_suggestion(key, known)}")
        return {known[key]: Given(value, f"{key} in {path}") for key, value in content.items()}

    def _describe(self, field: FieldInfo) -> str:
        default = shown(field.default)
        named = f"{default}; {variable(field.name)}" if default else variable(field.name)
        return f"{self._help[field.name]} ({named})".replace("%", "%%")


def option(field: str) -> str:
    """How a field is called in the file; a number of seconds loses its unit."""
    return field.removesuffix("_s").replace("_", "-")


def flag(field: str) -> str:
    return f"--{option(field)}"


def variable(field: str) -> str:
    return PREFIX + option(field).upper().replace("-", "_")


def _metavar(field: FieldInfo) -> str:
    if field.name.endswith("_s"):
        return "SECONDS"
    kind = _plain(field.type)
    return "|".join(get_args(field.type)) if kind is Literal else KINDS[kind].metavar


def shown(default: Any) -> str:
    match default:
        case bool():
            return "yes" if default else "no"
        case int() | float():
            return f"{default}"
        case Rate():
            return f"{default.per_s:g}:{default.burst}"
        case tuple():
            return ",".join(default)
        case str() | Path():
            return str(default)
        case _:
            return ""


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f": did you mean {close[0]}?" if close else ""


def _plain(kind: Any) -> Any:
    """What of a type decides how it is written: ``str`` of ``str | None``, ``tuple`` of ``tuple[str, ...]``."""
    if type(None) in get_args(kind):
        kind = get_args(kind)[0]
    return get_origin(kind) or kind


def _convert(field: FieldInfo, given: Given) -> Any:
    value, kind = given.value, _plain(field.type)
    try:
        if kind is Rate:
            per_s, burst = value.split(":")
            return Rate(float(per_s), int(burst))
        if kind is bytes:
            return value.encode()
        if kind is tuple and isinstance(value, str):
            return tuple(word.strip() for word in value.split(",") if word.strip())
        # A text may stand for a number: flags and variables are nothing else.
        return msgspec.convert(
            value, field.type, strict=not isinstance(value, str), dec_hook=lambda _, text: Path(text)
        )
    except (ValueError, TypeError, AttributeError):
        expected = f"one of {', '.join(get_args(field.type))}" if kind is Literal else KINDS[kind].expected
        raise SettingsError(f"{given.where} must be {expected}, not {value!r}") from None
