"""The one error that is meant for people."""


class UserError(Exception):
    """An error that the user can fix. Its message is one clear sentence that says what to do; show it as it is."""
