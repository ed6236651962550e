"""The one error that a user is meant to read."""


class UserError(ValueError):
    """Input that cannot work: its message is one sentence that names the key or file, and the fix."""


def reason(error: Exception) -> str:
    """The first line of an error's message, without a full stop, to be put into a sentence."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
