"""Write and read, without Ray, what a run leaves on disk: its metrics, transcripts and whole rollouts."""
