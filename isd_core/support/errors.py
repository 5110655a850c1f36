"""The one exception that means "the input is wrong, the program is fine"."""


class InputError(Exception):
    """What the user gave cannot be used. The message is one paragraph: what was given, what was expected, what to do.

    Command-line programs print it without a traceback and exit with 2.
    """
