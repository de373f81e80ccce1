"""The one error that is meant for people."""


class UserError(Exception):
    """Something a visitor can mend. The message is one clear sentence that says what to do; show it as it is."""
