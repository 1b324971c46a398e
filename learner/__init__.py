"""The DeepSpeed ZeRO learner."""
