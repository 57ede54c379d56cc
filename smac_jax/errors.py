"""The one error that users cause and users can mend."""


class InputError(ValueError):
    """Bad input: data, configuration, checkpoint or working directory.

    Its message is one line that names the cause and the remedy; programs print it and exit with code 2.
    """
