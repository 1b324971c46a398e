"""Let Hydra read and merge conf/ once for each choice of its files: that takes 80 ms, and tests compose 1,500 times."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hydra._internal import config_loader_impl
from hydra._internal.defaults_list import Overrides

Loader = config_loader_impl.ConfigLoaderImpl


def sources(repo: Any) -> str:
    """Return the folders in which `repo` looks for files."""
    return repr([(source.provider, source.path) for source in repo.get_sources()])


@pytest.fixture(scope="session", autouse=True)
def merged_once() -> Iterator[None]:
    """Cache the list of files that Hydra chose and the result of merging them. Overrides are applied to a copy."""
    choose, merge = config_loader_impl.create_defaults_list, Loader._compose_config_from_defaults_list
    chosen: dict[Any, Any] = {}
    merged: dict[Any, Any] = {}

    def choose_once(repo: Any, config_name: str, overrides_list: list[Any], **options: bool) -> Any:
        choices = [each for each in overrides_list if repo.group_exists(each.key_or_group)]
        key = sources(repo), config_name, *(each.input_line for each in choices), *options.items()
        if key not in chosen:
            chosen[key] = choose(repo, config_name, choices, **options)
        return replace(chosen[key], config_overrides=Overrides(repo, overrides_list).config_overrides)

    def merge_once(loader: Any, defaults: list[Any], repo: Any) -> Any:
        key = sources(repo), repr(defaults)
        if key not in merged:
            merged[key] = merge(loader, defaults, repo)
        return copy.deepcopy(merged[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config_loader_impl, "create_defaults_list", choose_once)
        patch.setattr(Loader, "_compose_config_from_defaults_list", merge_once)
        yield
