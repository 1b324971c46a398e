"""The server of a senior and its junior: an OpenAI-compatible API on the engines of training."""
