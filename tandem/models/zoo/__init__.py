"""The base models: recipes, how they are built and cached, and how a user's are found."""
