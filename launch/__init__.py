"""The programs of this project, and the packages that only they use."""
