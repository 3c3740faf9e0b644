"""The messages of files in protobuf's format, from a table of the fields that we read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

Fields = Mapping[str, Mapping[str, tuple[int, str]]]
"""For each message, by field: its number, and its type, with ``repeated`` before it. A type is
protobuf's own, or a message of the table."""


class Schema:
    """Messages in a pool of their own, because other packages may define the same names.

    ``syntax`` is that of the file: in ``proto2`` a message tells whether a number was there, and in
    ``proto3`` a text that isn't UTF-8 is refused.
    """

    def __init__(self, package: str, fields: Fields, syntax: str = "proto3") -> None:
        self._package, self._fields = package, MappingProxyType(dict(fields))
        self._syntax = syntax
        self._class = cache(self._made)

    def message(self, name: str) -> Any:
        """A new, empty message of the table."""
        return self._class(name)()

    def _made(self, name: str) -> Any:
        name_of_file = f"{self._package}.proto"
        file = FileDescriptorProto(name=name_of_file, package=self._package, syntax=self._syntax)
        for message_name, fields in self._fields.items():
            message = file.message_type.add(name=message_name)
            for field, (number, kind) in fields.items():
                *repeated, kind = kind.split()
                made = message.field.add(name=field, number=number, label=3 if repeated else 1)
                if kind in self._fields:
                    made.type_name = f".{self._package}.{kind}"
                else:
                    made.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
        pool = DescriptorPool()
        pool.Add(file)
        return GetMessageClass(pool.FindMessageTypeByName(f"{self._package}.{name}"))
