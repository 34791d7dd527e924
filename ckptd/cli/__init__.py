"""Arguments to calls, errors to exit status."""


def main() -> int:
    return 2
