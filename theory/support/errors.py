"""The one exception that means: the input is at fault, and here is what to do about it."""


class InputError(ValueError):
    """Input that cannot be used.

    The message is a single line that says what is wrong, where, and what to do. The command line
    prints it without a traceback and exits with code 2; in Python it is a ``ValueError``.
    """


def reason(error: BaseException, longest: int = 300) -> str:
    """What an exception says, or else its kind, on one line of so many characters at most."""
    return " ".join(str(error).split())[:longest] or type(error).__name__
