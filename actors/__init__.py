"""Ray actors around the method: rollout engines and the reward judge."""
