"""The comparison of arms over seeds: what is compared, how its runs are made, and what comes out."""
