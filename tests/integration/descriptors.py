"""What a process's descriptors are: files, event descriptors, and connections with their state and the process at the other end."""

import contextlib
import os
import re
import socket
import struct

TCP_STATES = {1: "established", 2: "SYN sent", 3: "SYN received", 4: "FIN wait 1", 5: "FIN wait 2", 6: "time wait", 7: "closed",
              8: "close wait", 9: "last ACK", 10: "listens", 11: "closing"}


def links(pid):
    """{descriptor: what /proc says that it is}"""
    found = {}
    with contextlib.suppress(FileNotFoundError, PermissionError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
    return found


def address(words):
    """From the kernel's hexadecimal words, which are in the processor's order."""
    host, port = words.split(":")
    packed = b"".join(struct.pack("=I", int(host[i:i + 8], 16)) for i in range(0, len(host), 8))
    text = socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed).replace("::ffff:", "")
    return f"{text}:{int(port, 16)}"


def connections():
    """{inode: (state, own address, the other's address)} of all TCP sockets that a process holds."""
    found = {}
    for table in "tcp", "tcp6":
        with contextlib.suppress(FileNotFoundError), open(f"/proc/net/{table}") as file:
            for line in list(file)[1:]:
                words = line.split()
                if words[9] != "0":
                    found[words[9]] = (TCP_STATES.get(int(words[3], 16), words[3]), address(words[1]), address(words[2]))
    return found


def holders(wanted):
    """{inode: "name (pid)"} of those sockets, for the processes that hold them."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for link in links(pid).values():
            inode = link[len("socket:["):-1]
            if link.startswith("socket:[") and inode in wanted:
                with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as file:
                    found[inode] = f"{file.read().strip()} ({pid})"
    return found


def describe(pid):
    """[text] of each descriptor in order, with who is at the other end of its connection."""
    tcp, descriptors = connections(), links(pid)
    inode_of = {(own, other): inode for inode, (_, own, other) in tcp.items()}
    with open("/proc/net/unix") as file:
        unix = {words[6]: " ".join(words[7:]) or "unnamed" for words in (line.split() for line in list(file)[1:])}
    lines, peers = [], {}
    for number, link in sorted(descriptors.items()):
        inode = re.sub(r"^socket:\[(\d+)\]$", r"\1", link)
        if inode in tcp:
            state, own, other = tcp[inode]
            lines.append(f"{number}: TCP {own}" + (f" {state}" if state == "listens" else f", other end {other}, {state}"))
            if (other, own) in inode_of:
                peers[number] = inode_of[other, own]
        elif inode in unix:
            lines.append(f"{number}: unix socket {unix[inode]}")
        elif link == "anon_inode:[eventpoll]":
            with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/fdinfo/{number}") as file:
                watched = re.findall(r"^tfd: *(\d+)", file.read(), re.M)
                lines.append(f"{number}: epoll of {', '.join(watched) or 'nothing'}")
        else:
            lines.append(f"{number}: {link}")
    names = holders(set(peers.values()))
    return [line + (f", held by {names[inode]}" if (inode := peers.get(int(line.split(":")[0]))) in names else "") for line in lines]
