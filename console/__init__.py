"""What a person looks at: the command line and the live view. Start with `cli.py`."""
