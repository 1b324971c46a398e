"""The sources of problems, their split and their order, and the prompts made of them."""
