"""The exception for bad input."""


class InputError(ValueError):
    """Input that cannot be used.

    The message is one line that says what is wrong, where, and what to do. The command line prints
    it without a traceback and exits with code 2.
    """


def reason(error: BaseException, longest: int = 300) -> str:
    """The exception's message on one line, truncated; its class name if it is empty."""
    return " ".join(str(error).split())[:longest] or type(error).__name__
