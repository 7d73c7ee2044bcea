"""Runs a program under a seccomp profile in Docker's form, by libseccomp, as a container's runtime would.

    under_seccomp.py [--kill] PROFILE PROGRAM ARGUMENT...   becomes the program; --kill: what the profile does
                                                            not name ends the process (SIGSYS), so that no
                                                            call that it lacks goes unnoticed
    under_seccomp.py --try PROFILE                          makes calls itself, a line for each: NAME ERRNO

Exit code 77: this machine has no libseccomp.
"""

import ctypes
import errno
import json
import os
import platform
import sys

KILL_PROCESS, ERRNO, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
COMPARISONS = {"SCMP_CMP_EQ": 4, "SCMP_CMP_MASKED_EQ": 7}


class Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp`."""

    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def action(name, number):
    return {"SCMP_ACT_ALLOW": ALLOW, "SCMP_ACT_ERRNO": ERRNO | number}[name]


def load(profile, kill):
    try:
        seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError:
        sys.exit(77)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet", 1))
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(KILL_PROCESS if kill else default)))
    assert context, "seccomp_init"
    for rule in profile["syscalls"]:
        does = action(rule["action"], rule.get("errnoRet", 1))
        if does == default:
            continue
        args = rule.get("args", [])
        compared = (Comparison * max(len(args), 1))(*[
            Comparison(arg["index"], COMPARISONS[arg["op"]], arg["value"], arg.get("valueTwo", 0)) for arg in args
        ])
        for name in rule["names"]:
            number = seccomp.seccomp_syscall_resolve_name(name.encode())
            if number == -1:
                # A call that this libseccomp is too old to know; those of other machines have numbers below.
                print(f"{name}: unknown to libseccomp", file=sys.stderr)
                continue
            added = seccomp.seccomp_rule_add_array(
                context, ctypes.c_uint32(does), ctypes.c_int(number), ctypes.c_uint(len(args)), compared
            )
            assert added in (0, -errno.EDOM), (name, added)
    loaded = seccomp.seccomp_load(context)
    assert loaded == 0, ("seccomp_load", loaded)


def attempts():
    """Calls that a proxy has no use for, and some that it lives by, with arguments that harm nobody."""
    libc = ctypes.CDLL(None, use_errno=True)
    machine = {"x86_64": (101, 165, 175, 435), "aarch64": (117, 40, 105, 435)}[platform.machine()]
    ptrace, mount, init_module, clone3 = machine
    return {
        "ptrace": lambda: libc.syscall(ptrace, 0, 0, 0, 0),
        "mount": lambda: libc.syscall(mount, 0, 0, 0, 0, 0),
        "init_module": lambda: libc.syscall(init_module, 0, 0, 0),
        "unshare": lambda: libc.unshare(0x10000000),
        "fork": lambda: libc.syscall(220 if platform.machine() == "aarch64" else 56, 17, 0, 0, 0, 0),
        "clone3": lambda: libc.syscall(clone3, 0, 0),
        "bpf": lambda: libc.syscall(280 if platform.machine() == "aarch64" else 321, 0, 0, 0),
        "socket(AF_NETLINK)": lambda: libc.socket(16, 3, 0),
        "socket(AF_PACKET)": lambda: libc.socket(17, 3, 0),
        "socket(AF_ALG)": lambda: libc.socket(38, 5, 0),
        "ioctl(TIOCSTI)": lambda: libc.ioctl(0, 0x5412, 0),
        "socket(AF_INET)": lambda: libc.socket(2, 1, 0),
        "io_uring_setup": lambda: libc.syscall(425, 0, 0),
    }


def main():
    mode = sys.argv.pop(1) if sys.argv[1].startswith("--") else None
    with open(sys.argv[1], encoding="utf-8") as file:
        profile = json.load(file)
    tried = attempts() if mode == "--try" else {}
    load(profile, mode == "--kill")
    for name, call in tried.items():
        ctypes.set_errno(0)
        failed = call() == -1
        os.write(1, f"{name} {errno.errorcode.get(ctypes.get_errno(), '?') if failed else 'done'}\n".encode())
    if not tried:
        os.execv(sys.argv[2], sys.argv[2:])


main()
