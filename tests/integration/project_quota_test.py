"""Project quotas where the kernel has them: a virtual machine with an initramfs that holds project_quota_guest and an ext4
image. Usage: project_quota_test.py GUEST DIRECTORY; the kernel's package is fetched into DIRECTORY, once, and only unpacked
there."""
import re
import sys
import tempfile

from virtual_machine import boot, find_kernel, make_quota_disk, module_files, read

MODULES = ("fs/quota/quota_tree.ko", "fs/quota/quota_v2.ko", "drivers/block/loop.ko", "fs/overlayfs/overlay.ko")


def main(guest, directory):
    kernel, modules = find_kernel(directory)
    with tempfile.TemporaryDirectory() as work:
        make_quota_disk(work + "/image", 32 << 20)
        files = [("init", 0o100755, read(guest)), ("image", 0o100600, read(work + "/image"))]
        files += module_files(modules, MODULES)
        said = boot(kernel, files, work, begun=r"(ok|FAILED)\b", memory_mib=256, timeout_s=200)
    return 0 if re.search(r"^done: [1-9]\d* ok, 0 failed$", said, re.M) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
