"""Fills what can be filled; runs inside, as the agent, with a disk limit of 64 MiB. As kernel.py prints."""
import errno
import os
import resource
import signal

tries = 0


def attempt(name, run, *errors):
    global tries
    tries += 1
    try:
        run()
        print(f"{name}: ESCAPED")
    except OSError as error:
        code = errno.errorcode[error.errno]
        print(f"{name}: refused ({code})" if code in errors else f"{name}: BROKEN {error}")


def fill(directory):
    """With several files: one alone meets its own limit."""
    names = [f"{directory}/{n}" for n in range(5)]
    try:
        for name in names:
            with open(name, "wb") as file:
                file.write(bytes(40 << 20))
    finally:
        for name in names:
            if os.path.exists(name):
                os.unlink(name)


def descriptors():
    held = []
    while len(held) < 100_000:
        held.append(os.open("/", os.O_RDONLY))


def core_limit():
    if resource.getrlimit(resource.RLIMIT_CORE) == (0, 0):
        raise OSError(errno.EPERM, "")


signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
attempt("fill /dev/shm", lambda: fill("/dev/shm"), "ENOSPC")
attempt("fill /dev", lambda: fill("/dev"), "EACCES", "EPERM", "EROFS")
attempt("a file beyond the disk limit", lambda: os.truncate("a.txt", 65 << 20), "EFBIG")
attempt("a core file", core_limit, "EPERM")
attempt("descriptors without end", descriptors, "EMFILE")
print(f"{tries} tries")
