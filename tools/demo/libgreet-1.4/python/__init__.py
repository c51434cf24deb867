"""libgreet 1.4"""

__version__ = "1.4.2"


def greet(name):
    return "Hello, %s!" % name
