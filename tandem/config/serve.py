"""The server of a senior and its junior."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.config.setting import setting


@dataclass
class ServeConfig:
    """The address and the limits of launch/serve.py and launch/write.py."""

    host: str = "127.0.0.1"
    """the address to listen on; any other than this machine's own (127.0.0.1, ::1, localhost) needs an API key in the
    environment variable TANDEM_API_KEY"""
    port: int = setting(8000, at_least=0, at_most=65_535)
    """the port to listen on; 0: any free port, which is printed"""
    max_body_kib: int = setting(1024, at_least=1, at_most=1_048_576)
    """largest body of a request"""
    max_texts: int = setting(256, at_least=1)
    """texts that are being written or wait; a request for more is refused"""
    drain_s: int = setting(10, at_least=0, at_most=3600)
    """seconds that requests to launch/serve.py have to end after a signal; then their texts are cancelled"""
