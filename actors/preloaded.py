"""The modules of an engine. Only the server that engines are forked from imports this one, and with it all of them."""

from __future__ import annotations

import atexit
import os
from contextlib import suppress
from importlib import import_module

from tandem.runtime.imports import without_collection

MODULES = (
    "actors.engine_worker",
    "actors.handoff_scheduler",
    "vllm.model_executor.layers.quantization.online.base",
    "vllm.v1.engine.core",
    "vllm.v1.worker.cpu_worker",
)

atexit.register(os._exit, 0)  # registered first, called last: to free what was imported would take seconds
with without_collection():
    for module in MODULES:
        with suppress(ImportError):  # the engine that needs it raises the error
            import_module(module)
