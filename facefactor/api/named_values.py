"""Lists of "name=value", as they are given on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from facefactor.errors import FaceFactorError


def named_values(values: Sequence[str]) -> Mapping[str, str]:
    pairs = [value.partition("=") for value in values]
    if bad := [name for name, equals, rest in pairs if not (equals and rest)]:
        raise FaceFactorError(f"{bad[0]!r} is not of the form name=value")
    return {name: rest for name, _, rest in pairs}
