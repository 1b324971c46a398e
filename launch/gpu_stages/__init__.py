"""The stages of launch/gpu_check.py."""
