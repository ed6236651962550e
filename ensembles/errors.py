"""The one error that a user is meant to read."""


class UserError(ValueError):
    """Input that cannot work: its message is one sentence that names the key or file, and the fix."""
