"""The machines of a run: its cluster, its plan, its places, and what it holds outside of its folder."""
