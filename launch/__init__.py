"""Entry points; each reads like what it does."""
