"""The machines of a run: cluster, plan, placements, environment, and files outside of the run folder."""
