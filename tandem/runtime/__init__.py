"""What a run of several processes needs below the method: shared weights, processes, restarts, traces."""
