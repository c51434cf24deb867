"""libgreet 2.0: arguments by name only"""

__version__ = "2.0.0"


def greet(*, name, greeting="Hello"):
    if not name:
        raise ValueError("libgreet 2: greet(name=...) wants a name")
    return "%s, %s!" % (greeting, name)
