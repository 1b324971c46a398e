"""The page on which a person and a model write texts together."""
