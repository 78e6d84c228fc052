"""JSON schemas of structs, with the words that stand below their fields in the source."""

import ast
import inspect
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any, Final

import msgspec
from msgspec import Struct

from protocol import timelines, views
from protocol.notifications import NotificationChanged, UnreadChanged
from protocol.requests import Change

Json = dict[str, Any]

PUBLICATION = "Publication"
"""The schema of what a stream publishes."""
PUBLICATIONS: Final = (
    views.CommentChanged,
    views.PostChanged,
    views.CountersChanged,
    views.TypingChanged,
    timelines.FeedOpened,
    NotificationChanged,
    UnreadChanged,
)
REFERENCE = "#/components/schemas/{name}"
_ENCODED: Final[dict[tuple[type[Struct], str], str]] = {
    (views.CommentNode, "comment"): "CommentView",
    (views.CommentChanged, "comment"): "CommentView",
    (views.PostChanged, "post"): "PostView",
    (Change, "data"): PUBLICATION,
}
"""Fields that hold JSON which is encoded already: what it is."""
_ENCODED_LISTS: Final[dict[tuple[type[Struct], str], str]] = {(timelines.TimelinePage, "posts"): "PostView"}


class Schemas:
    """Describes structs. Reads the source of each module once."""

    def __init__(self) -> None:
        self._classes: dict[ModuleType, dict[str, ast.ClassDef]] = {}

    def of(self, kind: Any) -> Json:
        """The schema of any type; a struct is referred to by name."""
        if isinstance(kind, type) and issubclass(kind, Struct):
            return {"$ref": REFERENCE.format(name=kind.__name__)}
        ((schema,), _) = msgspec.json.schema_components([kind], ref_template=REFERENCE)
        return schema

    def described(self, struct: type[Struct]) -> Json:
        """The schema of ``struct`` itself."""
        return self.components([struct])[struct.__name__]

    def components(self, types: Iterable[Any]) -> dict[str, Json]:
        """The schemas of all structs in ``types``, however deep, by name."""
        types = list(types)
        (_, schemas) = msgspec.json.schema_components(types, ref_template=REFERENCE)
        for struct in _structs_in(types):
            self._describe(struct, schemas[struct.__name__])
        return schemas

    def publication(self) -> Json:
        return {
            "title": PUBLICATION,
            "description": "What a stream publishes; `type` says which.",
            "oneOf": [self.of(kind) for kind in PUBLICATIONS],
        }

    def _describe(self, struct: type[Struct], schema: Json) -> None:
        """Put into ``schema`` what msgspec does not: the words of the source, and what encoded JSON is."""
        if "description" in schema:
            schema["description"] = plain_words(schema["description"])
        properties = schema.get("properties", {})
        for name, words in self._field_words(struct).items():
            properties[name].setdefault("description", words)
        for name in properties:
            if (what := _ENCODED.get((struct, name))) is not None:
                properties[name].update({"$ref": REFERENCE.format(name=what)})
            if (what := _ENCODED_LISTS.get((struct, name))) is not None:
                properties[name].update({"type": "array", "items": {"$ref": REFERENCE.format(name=what)}})

    def _field_words(self, struct: type[Struct]) -> dict[str, str]:
        """What the source says below each field: the words stand once, where the field does."""
        found: dict[str, str] = {}
        for base in reversed(struct.__mro__):
            if issubclass(base, Struct) and base is not Struct:
                found.update(_words_below_fields(self._definition(base)))
        return {name: words for name, words in found.items() if name in struct.__struct_fields__}

    def _definition(self, struct: type[Struct]) -> ast.ClassDef:
        module = inspect.getmodule(struct)
        assert module is not None
        if module not in self._classes:
            tree = ast.parse(inspect.getsource(module))
            self._classes[module] = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        return self._classes[module][struct.__name__]


def plain_words(docstring: str) -> str:
    """A docstring as one line, with single backticks round what is code."""
    return " ".join(docstring.replace("``", "`").split())


def _words_below_fields(definition: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(value=ast.Constant(value=str(words))):
                yield name, plain_words(words)
            case _:
                pass


def _structs_in(types: Iterable[Any]) -> Iterator[type[Struct]]:
    seen: set[Any] = set()
    waiting = [msgspec.inspect.type_info(kind) for kind in types]
    while waiting:
        info = waiting.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls in seen:
                continue
            seen.add(info.cls)
            yield info.cls
            waiting += [field.type for field in info.fields]
        for part in ("item_type", "key_type", "value_type"):
            if (inner := getattr(info, part, None)) is not None:
                waiting.append(inner)
        waiting += getattr(info, "types", ())
