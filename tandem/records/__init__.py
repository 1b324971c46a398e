"""What a run leaves on disk, as data: its metrics, transcripts and whole rollouts, written and read without Ray."""
