"""Runs large batches of pictures through hosted image models: paid once, lost never, resumed at any time."""
